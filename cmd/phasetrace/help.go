// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// Help is laid out for the terminal, but for no more than a line that is easy to
// read, and for plainWidth columns elsewhere: in a pager, for one.
const (
	plainWidth = 80
	maxWidth   = 100
)

// dressHelp lays help out, and makes the commands of cobra's own answer mistakes as
// the others do.
func dressHelp(root *cobra.Command, s *streams) {
	width := plainWidth
	if n := columns(s.out); n > 0 {
		width = min(n, maxWidth)
	}
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), ".FlagUsages", fmt.Sprintf(".FlagUsagesWrapped %d", width)))
	root.SuggestionsMinimumDistance = 2
	help := &cobra.Command{
		Use:   "help [command]",
		Short: "Show what a command does, and its flags",
		RunE: func(cmd *cobra.Command, args []string) error {
			of, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return unknownCommand(root, strings.Join(args, " "))
			}
			of.InitDefaultHelpFlag()
			of.InitDefaultVersionFlag()
			return of.Help()
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) (words []cobra.Completion, _ cobra.ShellCompDirective) {
			for _, c := range root.Commands() {
				if len(args) == 0 && c.IsAvailableCommand() {
					words = append(words, cobra.CompletionWithDesc(c.Name(), c.Short))
				}
			}
			return words, cobra.ShellCompDirectiveNoFileComp
		},
	}
	root.SetHelpCommand(help)
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			c.Short = "Write a script that completes command lines in your shell"
			c.Long = ""
			c.DisableFlagsInUseLine = true
			c.Args = noArguments
			c.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		}
	}
}

// completeWords lets shells complete the values of flags that take one of a few words.
func completeWords(cmd *cobra.Command, flags map[string][]cobra.Completion) {
	for flag, words := range flags {
		err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
		if err != nil {
			panic(err) // no such flag
		}
	}
}

// unknownCommand says what may have been meant.
func unknownCommand(root *cobra.Command, word string) error {
	switch near := root.SuggestionsFor(word); {
	case isPID(word):
		return usageError("unknown command %q: to trace that process: phasetrace -p %s", word, word)
	case len(near) > 0:
		return usageError("unknown command %q: did you mean %s?", word, near[0])
	case isProgram(word):
		return usageError("unknown command %q: to start and trace that program: phasetrace run -- %s", word, quoted(word))
	}
	return usageError("unknown command %q", word)
}

// unexpected says where a word belongs that a command does not take.
func unexpected(cmd *cobra.Command, word string) error {
	if isPID(word) && cmd.Flags().Lookup("pid") != nil {
		return usageError("unexpected argument %q: a process is given with -p %s", word, word)
	}
	return usageError("unexpected argument %q", word)
}

func isPID(word string) bool {
	n, err := strconv.Atoi(word)
	return err == nil && n > 0
}

// isProgram reports whether a word is the path of a file that can be executed.
func isProgram(word string) bool {
	info, err := os.Stat(word)
	return strings.Contains(word, "/") && err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}
