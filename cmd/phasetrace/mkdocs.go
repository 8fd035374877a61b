// SPDX-License-Identifier: Apache-2.0

//go:build mkdocs

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// This main writes what release archives carry besides the program, shell
// completions and manual pages, made from the commands themselves:
//
//	go run -tags mkdocs ./cmd/phasetrace DIR VERSION UNIXTIME
func main() {
	if err := makeDocs(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "mkdocs:", err)
		os.Exit(1)
	}
}

func makeDocs(args []string) error {
	if len(args) != 3 {
		return errors.New("usage: mkdocs DIR VERSION UNIXTIME")
	}
	seconds, err := strconv.ParseInt(args[2], 10, 64)
	if err != nil {
		return fmt.Errorf("time of the commit: %w", err)
	}
	date := time.Unix(seconds, 0).UTC()
	root := newRoot(&streams{in: os.Stdin, out: os.Stdout, err: os.Stderr})
	return errors.Join(
		manuals(root, filepath.Join(args[0], "man", "man1"), args[1], &date),
		completions(root, filepath.Join(args[0], "completions")),
	)
}

func manuals(root *cobra.Command, dir, version string, date *time.Time) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	root.DisableAutoGenTag = true
	return doc.GenManTree(root, &doc.GenManHeader{Title: "PHASETRACE", Section: "1", Date: date, Source: "phasetrace " + version}, dir)
}

func completions(root *cobra.Command, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return errors.Join(
		root.GenBashCompletionFileV2(filepath.Join(dir, "phasetrace.bash"), true),
		root.GenZshCompletionFile(filepath.Join(dir, "_phasetrace")),
		root.GenFishCompletionFile(filepath.Join(dir, "phasetrace.fish"), true),
	)
}
