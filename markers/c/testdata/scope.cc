// SPDX-License-Identifier: Apache-2.0
// The guard of C++: left by return, by exception, moved, closed early.
#include <utility>

#include "selftrace.h"

#ifdef __cpp_exceptions
static void throws(int depth)
{
	PHASETRACE_SCOPE(depth ? "thrown through" : "thrown from");
	if (!depth)
		throw 1;
	throws(depth - 1);
}
#endif

static phasetrace::scope made() { return phasetrace::scope("made", "{\"by\":\"function\"}"); }

static int evaluated;
static const char *count(const char *text)
{
	evaluated++;
	return text;
}

int main(int argc, char **argv)
{
	selftrace_prepare(argc, argv);
	{
		PHASETRACE_SCOPE_ATTRS(count("untraced"), count("{}"));
		PHASETRACE_SCOPE("open before");
		selftrace_attach();
	}
	printf("evaluated %d\n", evaluated);
	fflush(stdout);
	{
		PHASETRACE_SCOPE_ATTRS(count("traced"), count("{}"));
	}
	{
		phasetrace::scope a("moved");
		phasetrace::scope b(std::move(a));
		{
			phasetrace::scope c = made();
			b.close();
			b = std::move(c);
		}
		b.close();
		b.close();
	}
	phasetrace::scope("ranked", nullptr, 5).close();
#ifdef __cpp_exceptions
	try {
		throws(1);
	} catch (int) {
	}
#endif
	return 0;
}
