/* SPDX-License-Identifier: Apache-2.0 */
/* Every macro of C, first untraced, then traced; counts what is evaluated. */
#include "selftrace.h"

static int evaluated;

static const char *name_of(const char *name)
{
	evaluated++;
	return name;
}

static uint64_t token_of(uint64_t token)
{
	evaluated++;
	return token;
}

static int leaves_early(int early)
{
	PHASETRACE_SCOPE_ATTRS("guarded", "{\"early\":true}");
	if (early)
		return 1;
	{
		PHASETRACE_SCOPE(name_of("inner"));
	}
	return 0;
}

static uint64_t all(void)
{
	uint64_t a = phasetrace_enter(name_of("a"));
	uint64_t b = phasetrace_enter_attrs(name_of("b"), name_of("{\"k\":1}"));
	uint64_t c = phasetrace_enter_rank(name_of("c"), name_of("{}"), (evaluated++, 7));
	phasetrace_exit(token_of(c), name_of("c"));
	phasetrace_exit(token_of(b), name_of("b"));
	phasetrace_exit(token_of(a), name_of("a"));
	leaves_early(0);
	leaves_early(1);
	return a | b | c;
}

static void line(const char *what, uint64_t value)
{
	printf("%s %" PRIu64 "\n", what, value);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	uint64_t before, t;

	selftrace_prepare(argc, argv);
	line("enabled", (uint64_t)phasetrace_enabled());
	line("tokens", all());
	line("evaluated", (uint64_t)evaluated);
	before = phasetrace_enter("before");
	{
		PHASETRACE_SCOPE("open before");
		PHASETRACE_SCOPE(name_of("open before, computed"));
		selftrace_attach();
		line("enabled", (uint64_t)phasetrace_enabled());
	}
	phasetrace_exit(before, "before");
	evaluated = 0;
	all();
	line("evaluated", (uint64_t)evaluated);
	phasetrace_set_rank(3);
	t = phasetrace_enter("ranked");
	phasetrace_exit(t, "ranked");
	return 0;
}
