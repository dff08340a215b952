/* One program for many tests: each argument list is one thing that a guest may try. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static int told(const char *what, long result) {
    printf("%s: %s\n", what, result < 0 ? strerror(errno) : "done");
    return 0;
}

static int echo(int argc, char **argv) {
    for (int i = 1; i < argc; i++) printf("%s\n", argv[i]);
    for (char **entry = environ; *entry; entry++) printf("env %s\n", *entry);
    fprintf(stderr, "to standard error\n");
    return 0;
}

static int copy(const char *from, const char *to) {
    char buffer[65536];
    int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (in < 0 || out < 0) return perror("copy"), 3;
    for (ssize_t n; (n = read(in, buffer, sizeof buffer)) > 0;)
        if (write(out, buffer, (size_t)n) != n) return perror("write"), 4;
    return 0;
}

static int try_write(const char *path) {
    int file = open(path, O_WRONLY | O_CREAT, 0600);
    return told(path, file);
}

static int fill(const char *path) {
    static char buffer[1 << 20];
    int file = open(path, O_WRONLY | O_CREAT, 0600);
    if (file < 0) return perror(path), 3;
    long total = 0;
    for (;;) {
        ssize_t n = write(file, buffer, sizeof buffer);
        if (n <= 0) break;
        total += n;
    }
    printf("%ld bytes, %s\n", total, strerror(errno));
    return 0;
}

static int eat(long bytes) {
    for (long at = 0; at < bytes; at += 1 << 20) {
        char *part = malloc(1 << 20);
        if (!part) return 5;
        for (long i = 0; i < 1 << 20; i += 4096) ((volatile char *)part)[i] = 1;
    }
    return 0;
}

static int forks(void) {
    int made = 0;
    while (made < 1000) {
        pid_t child = fork();
        if (child < 0) break;
        if (child == 0) pause();
        made++;
    }
    printf("%d\n", made);
    return 0;
}

static int daemonize(void) {
    if (fork() > 0) return 0;
    setsid();
    if (fork() > 0) _exit(0);
    signal(SIGTERM, SIG_IGN);
    for (;;) pause();
}

static int stubborn(void) {
    for (int number = 1; number < 32; number++) signal(number, SIG_IGN);
    printf("here\n");
    fflush(stdout);
    for (;;) pause();
}

static int burn(void) {
    for (volatile unsigned long i = 0;; i++) {}
}

static int powers(void) {
    struct { int family; const char *name; } sockets[] = {
        {AF_INET, "inet"}, {AF_INET6, "inet6"}, {AF_NETLINK, "netlink"},
        {AF_PACKET, "packet"}, {AF_VSOCK, "vsock"}, {AF_ALG, "alg"},
    };
    for (size_t i = 0; i < sizeof sockets / sizeof *sockets; i++)
        told(sockets[i].name, socket(sockets[i].family, SOCK_STREAM, 0));
    told("unix", socket(AF_UNIX, SOCK_STREAM, 0));
    told("unshare", unshare(CLONE_NEWUSER));
    told("mount", mount("none", "/tmp", "tmpfs", 0, ""));
    told("ptrace", ptrace(PTRACE_TRACEME, 0, 0, 0));
    told("keyctl", syscall(SYS_keyctl, 0, -3, 1));
    told("io_uring", syscall(SYS_io_uring_setup, 4, 0));
    told("bpf", syscall(SYS_bpf, 0, 0, 0));
    told("perf", syscall(SYS_perf_event_open, 0, 0, 0, 0, 0));
    told("setuid", setuid(0));
    told("mknod", mknod("/results/device", S_IFCHR | 0600, 0x103));
    told("chroot", chroot("/"));
    told("reboot", syscall(SYS_reboot, 0, 0, 0, 0));
    return 0;
}

static int status(void) {
    char line[4096];
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        if (!strncmp(line, "Cap", 3) || !strncmp(line, "NoNewPrivs", 10) ||
            !strncmp(line, "Seccomp:", 8) || !strncmp(line, "Uid", 3)) fputs(line, stdout);
    file = fopen("/proc/net/dev", "r");
    while (file && fgets(line, sizeof line, file)) printf("net %s", line);
    return 0;
}

static int flood(int descriptor, long bytes) {
    static char buffer[4096];
    memset(buffer, 'x', sizeof buffer);
    for (long done = 0; done < bytes; done += (long)sizeof buffer)
        if (write(descriptor, buffer, sizeof buffer) < 0) return 6;
    return 0;
}

static int many(int count) {
    char name[64];
    for (int i = 0; i < count; i++) {
        snprintf(name, sizeof name, "/results/%d", i);
        if (open(name, O_WRONLY | O_CREAT, 0600) < 0) return printf("%d\n", i), 0;
    }
    return 0;
}

int main(int argc, char **argv) {
    const char *verb = argc > 1 ? argv[1] : "";
    const char *given = argc > 2 ? argv[2] : "";
    if (!strcmp(verb, "echo")) return echo(argc - 1, argv + 1);
    if (!strcmp(verb, "exit")) return atoi(given);
    if (!strcmp(verb, "copy")) return copy(given, argc > 3 ? argv[3] : "/results/out");
    if (!strcmp(verb, "write")) {
        for (int i = 2; i < argc; i++) try_write(argv[i]);
        return 0;
    }
    if (!strcmp(verb, "fill")) return fill(given);
    if (!strcmp(verb, "eat")) return eat(atol(given));
    if (!strcmp(verb, "forks")) return forks();
    if (!strcmp(verb, "daemon")) return daemonize();
    if (!strcmp(verb, "stubborn")) return stubborn();
    if (!strcmp(verb, "burn")) return burn();
    if (!strcmp(verb, "powers")) return powers();
    if (!strcmp(verb, "status")) return status();
    if (!strcmp(verb, "flood")) return flood(1, atol(given));
    if (!strcmp(verb, "many")) return many(atoi(given));
    if (!strcmp(verb, "symlink")) return symlink(given, "/results/link");
    if (!strcmp(verb, "abort")) abort();
    return 9;
}
