/* SPDX-License-Identifier: Apache-2.0 */
/*
 * phasetrace.h - mark the phases of a C or C++ program for phasetrace.
 *
 *     uint64_t t = phasetrace_enter("step");
 *     ...
 *     phasetrace_exit(t, "step");
 *
 * or, closed by itself when the block is left, by whatever way:
 *
 *     PHASETRACE_SCOPE("step");
 *
 * This file is all there is: no library, nothing to link, nothing to start.
 * While nobody traces, a marker is one load and one branch, and its arguments
 * are not evaluated. C99 and later, C++11 and later; Linux on x86-64 and arm64
 * with gcc or clang. Elsewhere, and with -DPHASETRACE_DISABLE, it compiles to
 * nothing. All of it may be used from any thread and from signal handlers.
 *
 * docs/markers.md has the binary interface that tracers rely on.
 */
#ifndef PHASETRACE_H
#define PHASETRACE_H

#include <stdint.h>

/* PHASETRACE_MARKERS is 1 where markers are compiled in, 0 where they are not. */
#if !defined(PHASETRACE_DISABLE) && defined(__GNUC__) && defined(__ELF__) && defined(__linux__) && \
    defined(__LP64__) && (defined(__x86_64__) || (defined(__aarch64__) && defined(__AARCH64EL__)))
#define PHASETRACE_MARKERS 1
#else
#define PHASETRACE_MARKERS 0
#endif

/*
 * Use
 * ---
 * phasetrace_enter(name)                    begins a phase on this thread
 * phasetrace_enter_attrs(name, attrs)       ... with a JSON object, or NULL
 * phasetrace_enter_rank(name, attrs, rank)  ... of this rank, not the process's
 *     Each returns a uint64_t token: not 0 and unique in the process when
 *     somebody traces, 0 when nobody does. name and attrs are NUL-terminated
 *     and only need to live as long as the call.
 *
 * phasetrace_exit(token, name)              ends it; a void expression
 *     To be called on the thread that entered, innermost phase first. With
 *     token 0 it tells a tracer that came in between of a phase it missed.
 *
 * phasetrace_enabled()                      1 while somebody traces, else 0
 *
 * phasetrace_set_rank(rank)                 rank of this process, default -1:
 *     unset. It holds in all files and libraries that the dynamic linker
 *     joins on the symbol phasetrace_process; set it again in others.
 *
 * PHASETRACE_SCOPE(name), PHASETRACE_SCOPE_ATTRS(name, attrs)
 *     A phase from here to the end of the block. In C++, exceptions included.
 *     name must live as long as the block.
 *
 * The arguments of all of these but phasetrace_set_rank are evaluated once
 * when somebody traces, and not at all when nobody does.
 */
#define phasetrace_enter(name) phasetrace_enter_attrs(name, PHASETRACE_NULL_)
#define phasetrace_enter_attrs(name, attrs) phasetrace_enter_rank(name, attrs, phasetrace_get_rank())
#define phasetrace_enter_rank(name, attrs, rank) \
	(PHASETRACE_ON_(enter) ? phasetrace_fire_enter_((name), (attrs), (rank)) : UINT64_C(0))
#define phasetrace_exit(token, name) \
	(PHASETRACE_ON_(exit) ? phasetrace_fire_exit_((token), (name)) : (void)0)
#define phasetrace_enabled() (PHASETRACE_ON_(enter) ? 1 : 0)

#ifdef __cplusplus
#define PHASETRACE_NULL_ nullptr
#define PHASETRACE_INLINE_ inline
#define PHASETRACE_ADDRESS_(p) reinterpret_cast<uintptr_t>(p)
#else
#define PHASETRACE_NULL_ ((const char *)0)
#define PHASETRACE_INLINE_ static __inline__
#define PHASETRACE_ADDRESS_(p) ((uintptr_t)(p))
#endif

#if PHASETRACE_MARKERS

#ifdef __cplusplus
extern "C" {
#endif

/*
 * One semaphore for each probe in each executable and library: the tracer has
 * the kernel count itself in there. Hidden, so that a file tests the semaphore
 * that its own notes name; weak, so that all its translation units share it;
 * used, because link-time optimisation does not see the notes that name it;
 * volatile, because nothing in the program ever writes it.
 */
#define PHASETRACE_SEMAPHORE_ __attribute__((weak, visibility("hidden"), section(".probes")))
extern volatile uint16_t phasetrace_enter_semaphore PHASETRACE_SEMAPHORE_;
extern volatile uint16_t phasetrace_exit_semaphore PHASETRACE_SEMAPHORE_;
__attribute__((used)) volatile uint16_t phasetrace_enter_semaphore = 0;
__attribute__((used)) volatile uint16_t phasetrace_exit_semaphore = 0;

/*
 * State of the process, one for all files that the dynamic linker joins on
 * this name. tokens only moves while somebody traces.
 */
struct phasetrace_process_state {
	uint64_t tokens;
	int32_t rank;
};
extern struct phasetrace_process_state phasetrace_process __attribute__((weak, visibility("default")));
struct phasetrace_process_state phasetrace_process = {0, -1};

#ifdef __cplusplus
}
#endif

#define PHASETRACE_ON_(probe) __builtin_expect(phasetrace_##probe##_semaphore != 0, 0)
/* Inlined at any level: a breakpoint in a function of its own costs the target half as much again. */
#define PHASETRACE_ALWAYS_ __attribute__((always_inline, no_instrument_function))
#define PHASETRACE_FORCE_ PHASETRACE_INLINE_ PHASETRACE_ALWAYS_

/* asm inline keeps compilers from taking the note's lines for the function's size. */
#if defined(__clang__) ? __clang_major__ >= 11 : __GNUC__ >= 9
#define PHASETRACE_ASM_ __asm__ __volatile__ __inline__
#else
#define PHASETRACE_ASM_ __asm__ __volatile__
#endif

/*
 * The instructions that a tracer may replace. On x86-64 a one-byte nop, which
 * every kernel traps safely, and the ten-byte nop that newer kernels can turn
 * into a call; never a five-byte one (docs/markers.md, "Why these nops").
 */
#if defined(__x86_64__)
#define PHASETRACE_NOPS_ ".byte 0x90,0x66,0x2e,0x0f,0x1f,0x84,0,0,0,0,0\n"
#else
#define PHASETRACE_NOPS_ "nop\n"
#endif

/*
 * The section that tells tracers how far prelink has moved a file. Only notes
 * refer to it, which lld's --gc-sections does not count: it is marked to be
 * retained ("R") where the assembler knows that, GNU as from 2.36 and clang's
 * own from 13. .gasversion. is defined by every GNU as, and by no other.
 */
#define PHASETRACE_BASE_(flags) \
	".pushsection .stapsdt.base,\"" flags "\",\"progbits\",.stapsdt.base,comdat\n"
#if defined(__clang__) && __clang_major__ >= 13
#define PHASETRACE_BASE_NOT_GAS_ PHASETRACE_BASE_("aGR")
#else
#define PHASETRACE_BASE_NOT_GAS_ PHASETRACE_BASE_("aG")
#endif

/*
 * A site: the nops, and a note that describes them. The note's section joins
 * the group of the code around it ("?"), so both are kept or folded together.
 */
#define PHASETRACE_SITE_(probe, operands)                                     \
	"990:" PHASETRACE_NOPS_                                                    \
	".pushsection .note.stapsdt,\"?\",\"note\"\n"                              \
	".balign 4\n"                                                              \
	".4byte 992f-991f,994f-993f,3\n"                                           \
	"991:.asciz \"stapsdt\"\n"                                                 \
	"992:.balign 4\n"                                                          \
	"993:.8byte 990b,_.stapsdt.base,phasetrace_" probe "_semaphore\n"          \
	".asciz \"phasetrace\",\"" probe "\",\"" operands "\"\n"                   \
	"994:.balign 4\n"                                                          \
	".popsection\n"                                                            \
	".ifndef _.stapsdt.base\n"                                                 \
	".ifndef .gasversion.\n"                                                   \
	PHASETRACE_BASE_NOT_GAS_                                                   \
	".else\n"                                                                  \
	".if .gasversion. >= 23600\n"                                              \
	PHASETRACE_BASE_("aGR")                                                    \
	".else\n"                                                                  \
	PHASETRACE_BASE_("aG")                                                     \
	".endif\n"                                                                 \
	".endif\n"                                                                 \
	".weak _.stapsdt.base\n"                                                   \
	".hidden _.stapsdt.base\n"                                                 \
	"_.stapsdt.base:.space 1\n"                                                \
	".size _.stapsdt.base,1\n"                                                 \
	".popsection\n"                                                            \
	".endif\n"

PHASETRACE_FORCE_ int32_t phasetrace_get_rank(void)
{
	return __atomic_load_n(&phasetrace_process.rank, __ATOMIC_RELAXED);
}

PHASETRACE_FORCE_ void phasetrace_set_rank(int32_t rank)
{
	__atomic_store_n(&phasetrace_process.rank, rank, __ATOMIC_RELAXED);
}

/*
 * The next token. Files that share phasetrace_process count together. A file
 * with one of its own (a library loaded privately) counts from elsewhere: two
 * such objects never lie on one page, and multiples of the golden ratio of
 * 2^64 keep different pages' starts at least 2^64 / (sqrt(5) * distance in
 * pages) tokens apart.
 */
PHASETRACE_FORCE_ uint64_t phasetrace_next_token_(void)
{
	uint64_t start = (PHASETRACE_ADDRESS_(&phasetrace_process) >> 12) * UINT64_C(0x9e3779b97f4a7c15);
	uint64_t token = start + __atomic_add_fetch(&phasetrace_process.tokens, 1, __ATOMIC_RELAXED);
	if (__builtin_expect(token == 0, 0))
		token = start + __atomic_add_fetch(&phasetrace_process.tokens, 1, __ATOMIC_RELAXED);
	return token;
}

/*
 * The operands are pinned or in any register, never in memory. "memory" makes
 * the compiler store what the strings hold before the tracer reads them.
 */
PHASETRACE_FORCE_ uint64_t phasetrace_fire_enter_(const char *name, const char *attrs, int32_t rank)
{
	uint64_t token = phasetrace_next_token_();
#if defined(__x86_64__)
	PHASETRACE_ASM_(PHASETRACE_SITE_("enter", "8@%%rdi 8@%%rsi 8@%%rdx -4@%%ecx")
	                :: "D"(token), "S"(name), "d"(attrs), "c"(rank) : "memory");
#else
	PHASETRACE_ASM_(PHASETRACE_SITE_("enter", "8@%x0 8@%x1 8@%x2 -4@%w3")
	                :: "r"(token), "r"(name), "r"(attrs), "r"(rank) : "memory");
#endif
	return token;
}

PHASETRACE_FORCE_ void phasetrace_fire_exit_(uint64_t token, const char *name)
{
#if defined(__x86_64__)
	PHASETRACE_ASM_(PHASETRACE_SITE_("exit", "8@%%rdi 8@%%rsi") :: "D"(token), "S"(name) : "memory");
#else
	PHASETRACE_ASM_(PHASETRACE_SITE_("exit", "8@%x0 8@%x1") :: "r"(token), "r"(name) : "memory");
#endif
}

#else /* !PHASETRACE_MARKERS */

/* The same types are checked, and nothing is evaluated. */
#define PHASETRACE_ON_(probe) 0
#define PHASETRACE_ALWAYS_
#define PHASETRACE_FORCE_ PHASETRACE_INLINE_

PHASETRACE_FORCE_ int32_t phasetrace_get_rank(void) { return -1; }
PHASETRACE_FORCE_ void phasetrace_set_rank(int32_t rank) { (void)rank; }
PHASETRACE_FORCE_ uint64_t phasetrace_fire_enter_(const char *name, const char *attrs, int32_t rank)
{
	(void)name;
	(void)attrs;
	(void)rank;
	return 0;
}
PHASETRACE_FORCE_ void phasetrace_fire_exit_(uint64_t token, const char *name)
{
	(void)token;
	(void)name;
}

#endif /* PHASETRACE_MARKERS */

#define PHASETRACE_JOIN2_(a, b) a##b
#define PHASETRACE_JOIN_(a, b) PHASETRACE_JOIN2_(a, b)
#define PHASETRACE_SCOPE(name) PHASETRACE_SCOPE_ATTRS(name, PHASETRACE_NULL_)

#ifdef __GNUC__
/* A name that costs nothing to evaluate is kept for an exit that a tracer may yet see. */
#define PHASETRACE_LITERAL_(name) (__builtin_constant_p(name) ? (name) : PHASETRACE_NULL_)
#else
#define PHASETRACE_LITERAL_(name) PHASETRACE_NULL_
#endif

#ifdef __cplusplus

#define PHASETRACE_SCOPE_ATTRS(name, attrs)                                        \
	::phasetrace::scope PHASETRACE_JOIN_(phasetrace_scope_, __LINE__) =             \
		phasetrace_enabled() ? ::phasetrace::scope((name), (attrs))                 \
		                     : ::phasetrace::scope::untraced(PHASETRACE_LITERAL_(name))

namespace phasetrace {

/*
 * scope holds one open phase and exits it when it is destroyed, by return or by
 * exception. It can be moved, not copied, and must end on the thread that made
 * it. It keeps the pointer name, which must outlive it.
 */
class scope {
public:
	PHASETRACE_ALWAYS_ explicit scope(const char *name, const char *attrs = nullptr) noexcept
		: name_(name), token_(phasetrace_enter_attrs(name, attrs)), open_(true) {}
	PHASETRACE_ALWAYS_ scope(const char *name, const char *attrs, int32_t rank) noexcept
		: name_(name), token_(phasetrace_enter_rank(name, attrs, rank)), open_(true) {}
	PHASETRACE_ALWAYS_ scope(scope &&from) noexcept : name_(from.name_), token_(from.token_), open_(from.open_)
	{
		from.open_ = false;
	}
	PHASETRACE_ALWAYS_ scope &operator=(scope &&from) noexcept
	{
		if (this != &from) {
			close();
			name_ = from.name_;
			token_ = from.token_;
			open_ = from.open_;
			from.open_ = false;
		}
		return *this;
	}
	scope(const scope &) = delete;
	scope &operator=(const scope &) = delete;
	PHASETRACE_ALWAYS_ ~scope() { close(); }

	/* untraced is a phase that was entered while nobody traced. name may be null. */
	PHASETRACE_ALWAYS_ static scope untraced(const char *name) noexcept { return scope(name, UINT64_C(0)); }

	/* close exits the phase now; a second close does nothing. */
	PHASETRACE_ALWAYS_ void close() noexcept
	{
		if (open_)
			phasetrace_exit(token_, name_);
		open_ = false;
	}
	/* token is that of the enter, 0 when nobody traced. */
	PHASETRACE_ALWAYS_ uint64_t token() const noexcept { return token_; }

private:
	PHASETRACE_ALWAYS_ scope(const char *name, uint64_t token) noexcept : name_(name), token_(token), open_(true) {}

	const char *name_;
	uint64_t token_;
	bool open_;
};

} /* namespace phasetrace */

#elif defined(__GNUC__)

struct phasetrace_scope_ {
	uint64_t token;
	const char *name;
};

PHASETRACE_FORCE_ struct phasetrace_scope_ phasetrace_scope_begin_(const char *name, const char *attrs)
{
	struct phasetrace_scope_ s;
	s.token = phasetrace_fire_enter_(name, attrs, phasetrace_get_rank());
	s.name = name;
	return s;
}

PHASETRACE_FORCE_ struct phasetrace_scope_ phasetrace_scope_untraced_(const char *name)
{
	struct phasetrace_scope_ s;
	s.token = 0;
	s.name = name;
	return s;
}

PHASETRACE_FORCE_ void phasetrace_scope_end_(struct phasetrace_scope_ *s) { phasetrace_exit(s->token, s->name); }

#define PHASETRACE_SCOPE_ATTRS(name, attrs)                                                             \
	struct phasetrace_scope_ PHASETRACE_JOIN_(phasetrace_scope_, __LINE__)                               \
		__attribute__((cleanup(phasetrace_scope_end_), unused)) =                                        \
			phasetrace_enabled() ? phasetrace_scope_begin_((name), (attrs))                              \
			                     : phasetrace_scope_untraced_(PHASETRACE_LITERAL_(name))

#endif /* __cplusplus */

#endif /* PHASETRACE_H */
