// SPDX-License-Identifier: Apache-2.0
// A program whose every step is asked for on standard input and told on
// standard output, so that tests need no sleeps.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/sched.h>

int marker(void) { return 42; }

static void tell(const char *what, long value)
{
	printf("%s %ld\n", what, value);
	fflush(stdout);
}

// await returns 0 at the end of input.
static int await(char *line, int size) { return fgets(line, size, stdin) != NULL; }

static void *thread(void *arg)
{
	prctl(PR_SET_NAME, "a) (thread");
	tell("thread", syscall(SYS_gettid));
	pause();
	return arg;
}

static void *survivor(void *arg)
{
	char line[16];
	pthread_join(*(pthread_t *)arg, NULL);
	tell("ready", getpid());
	await(line, sizeof line);
	_exit(0);
}

static void threads(int n)
{
	pthread_t t;
	for (int i = 0; i < n; i++)
		pthread_create(&t, NULL, thread, NULL);
}

// follow ends this child with its parent, which may be gone already.
static void follow(pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(9);
}

static void child(int depth)
{
	int fd[2];
	char c;
	pid_t parent = getpid();
	if (pipe(fd))
		exit(9);
	pid_t pid = fork();
	if (pid == 0) {
		follow(parent);
		if (depth > 1)
			child(depth - 1);
		if (write(fd[1], "x", 1) != 1)
			_exit(9);
		for (;;)
			pause();
	}
	if (read(fd[0], &c, 1) != 1)
		exit(9);
	printf("child %d of %d\n", pid, getpid());
	fflush(stdout);
}

// reborn starts a child that has exactly this PID.
static void reborn(pid_t pid)
{
	struct clone_args a;
	pid_t parent = getpid();
	memset(&a, 0, sizeof a);
	a.exit_signal = SIGCHLD;
	a.set_tid = (uint64_t)(uintptr_t)&pid;
	a.set_tid_size = 1;
	long got = syscall(SYS_clone3, &a, sizeof a);
	if (got == 0) {
		follow(parent);
		for (;;)
			pause();
	}
	tell("reborn", got);
}

int main(int argc, char **argv)
{
	char line[4096], path[4096];
	long n;
	static pthread_t self;
	(void)argc;
	(void)argv;
	printf("marker %lu\n", (unsigned long)(uintptr_t)marker);
	tell("ready", getpid());
	while (await(line, sizeof line)) {
		line[strcspn(line, "\n")] = 0;
		if (sscanf(line, "threads %ld", &n) == 1) {
			threads((int)n);
		} else if (sscanf(line, "child %ld", &n) == 1) {
			child((int)n);
		} else if (sscanf(line, "reap %ld", &n) == 1) {
			kill((pid_t)n, SIGKILL);
			tell("reaped", waitpid((pid_t)n, NULL, 0));
		} else if (sscanf(line, "kill %ld", &n) == 1) {
			tell("killed", kill((pid_t)n, SIGKILL));
		} else if (sscanf(line, "reborn %ld", &n) == 1) {
			reborn((pid_t)n);
		} else if (sscanf(line, "dlopen %4000[^\n]", path) == 1) {
			void *h = dlopen(path, RTLD_NOW);
			if (!h)
				fprintf(stderr, "%s\n", dlerror());
			tell("dlopen", h != NULL);
		} else if (strcmp(line, "leave") == 0) {
			pthread_t t;
			self = pthread_self();
			pthread_create(&t, NULL, survivor, &self);
			pthread_exit(NULL);
		} else if (sscanf(line, "exit %ld", &n) == 1) {
			exit((int)n);
		}
	}
	return 0;
}
