// SPDX-License-Identifier: Apache-2.0
// Writes a title over its command line, as servers do: says "one", and at a line
// of input takes the title and says "two". A second line ends it. It needs
// arguments to have room for the title.
#include <stdio.h>
#include <string.h>

static void say(const char *what)
{
	puts(what);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	static const char title[] = "job: second half";
	char line[16];
	size_t room = argv[argc - 1] + strlen(argv[argc - 1]) + 1 - argv[0];

	if (room < sizeof title)
		return 1;
	say("one");
	if (!fgets(line, sizeof line, stdin))
		return 1;
	memset(argv[0], 0, room);
	memcpy(argv[0], title, sizeof title);
	say("two");
	return !fgets(line, sizeof line, stdin);
}
