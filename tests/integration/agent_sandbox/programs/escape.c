/* One attempt at a time, named by the first argument. Prints what the kernel said. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static const char *name_of(int error) {
    switch (error) {
    case EPERM: return "EPERM";
    case ENOENT: return "ENOENT";
    case ESRCH: return "ESRCH";
    case EAGAIN: return "EAGAIN";
    case EACCES: return "EACCES";
    case EXDEV: return "EXDEV";
    case EMFILE: return "EMFILE";
    case ENOSPC: return "ENOSPC";
    case EROFS: return "EROFS";
    case ENOSYS: return "ENOSYS";
    case EAFNOSUPPORT: return "EAFNOSUPPORT";
    default: return strerror(error);
    }
}

static void said(const char *what, long result) {
    printf("%s %s\n", what, result < 0 ? name_of(errno) : "OK");
    fflush(stdout);
}

static void calls(void) {
    said("ptrace", ptrace(PTRACE_ATTACH, 1, 0, 0));
    said("inet", socket(AF_INET, SOCK_STREAM, 0));
    said("inet6", socket(AF_INET6, SOCK_DGRAM, 0));
    said("netlink", socket(16, SOCK_RAW, 0));
    said("packet", socket(17, SOCK_RAW, 0));
    said("vsock", socket(40, SOCK_STREAM, 0));
    said("unix", socket(AF_UNIX, SOCK_STREAM, 0));
    said("unshare", syscall(SYS_unshare, CLONE_NEWUSER));
    said("clone", syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0));
    said("clone3", syscall(SYS_clone3, 0, 0));
    said("mount", mount("none", "/tmp", "tmpfs", 0, ""));
    said("umount", umount("/proc/1"));
    said("keyctl", syscall(SYS_keyctl, 0, -3, 0));
    said("add_key", syscall(SYS_add_key, "user", "x", "x", 1, -3));
    said("io_uring", syscall(SYS_io_uring_setup, 8, 0));
    said("bpf", syscall(SYS_bpf, 0, 0, 0));
    said("userfaultfd", syscall(SYS_userfaultfd, 0));
    said("shmget", syscall(SYS_shmget, 0, 4096, 01600));
    said("sti", ioctl(0, TIOCSTI, "x"));
    said("setuid", chmod("/results", 04755));
    said("init", kill(1, SIGKILL));
    said("init_memory", open("/proc/1/mem", O_RDWR));
    said("init_root", open("/proc/1/root" "/etc/shadow", O_RDONLY));
    said("shadow", open("/etc/shadow", O_RDONLY));
    said("home", open("/home", O_RDONLY));
    said("sysfs", open("/sys", O_RDONLY));
    said("kcore", open("/proc/kcore", O_RDONLY));
    said("sysctl", open("/proc/sys/kernel/core_pattern", O_WRONLY));
    said("sysrq", open("/proc/sysrq-trigger", O_WRONLY));
    said("write_data", open("/data/in", O_WRONLY));
    said("make_data", open("/data/new", O_CREAT | O_WRONLY, 0600));
    said("chmod_data", chmod("/data/in", 0777));
    said("unlink_data", unlink("/data/in"));
    said("link_data", link("/data/in", "/results/in"));
    said("write_root", open("/new", O_CREAT | O_WRONLY, 0600));
    said("write_algorithm", open("/algorithm", O_WRONLY));
    said("device", mknod("/tmp/kmem", S_IFCHR | 0600, 0x101));
}

static void bomb_memory(int shared) {
    for (;;) {
        size_t size = 16 << 20;
        char *p = mmap(0, size, PROT_READ | PROT_WRITE,
                       (shared ? MAP_SHARED : MAP_PRIVATE) | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED) _exit(9);
        memset(p, 1, size);
        if (shared) madvise(p, size, MADV_DONTNEED); /* in memory, but no longer resident */
        usleep(1000);
    }
}

static void fill(const char *folder) {
    static char block[1 << 20];
    char name[64];
    for (int n = 0;; n++) {
        snprintf(name, sizeof name, "%s/%d", folder, n);
        int file = open(name, O_CREAT | O_WRONLY, 0600);
        if (file < 0 || write(file, block, sizeof block) < (long)sizeof block) {
            said("fill", -1);
            exit(n > 0 ? 3 : 4);
        }
        close(file);
        usleep(500);
    }
}

int main(int count, char **args) {
    const char *what = count > 1 ? args[1] : "";
    int n = 0;
    if (!strcmp(what, "calls")) calls();
    if (!strcmp(what, "forks")) {
        for (pid_t child; (child = fork()) >= 0; n++)
            if (child == 0) pause();
        printf("%d %s\n", n, name_of(errno));
    }
    if (!strcmp(what, "forever"))
        for (;;) {
            if (fork() == 0) pause();
            usleep(1000);
        }
    if (!strcmp(what, "memory")) bomb_memory(0);
    if (!strcmp(what, "hidden")) bomb_memory(1);
    if (!strcmp(what, "fill")) fill(args[2]);
    if (!strcmp(what, "files")) {
        while (open("/dev/null", O_RDONLY) >= 0) n++;
        printf("%d %s\n", n, name_of(errno));
    }
    if (!strcmp(what, "log"))
        for (;;) puts("all work and no play makes a dull guest");
    if (!strcmp(what, "spin")) for (;;) n++;
    if (!strcmp(what, "hide")) {
        mkdir("/results/x", 0700);
        chmod("/results/x", 0);
        sleep(1000);
    }
    if (!strcmp(what, "inodes"))
        for (char name[64];; n++) {
            snprintf(name, sizeof name, "/tmp/%d", n);
            close(open(name, O_CREAT | O_WRONLY, 0600));
        }
    if (!strcmp(what, "ignore")) {
        for (int s = 1; s < 32; s++) signal(s, SIG_IGN);
        for (;;) pause();
    }
    if (!strcmp(what, "daemon")) {
        if (fork() == 0) {
            setsid();
            if (fork() == 0) {
                for (int s = 1; s < 32; s++) signal(s, SIG_IGN);
                for (;;) pause();
            }
            _exit(0);
        }
        wait(0);
    }
    if (!strcmp(what, "int80")) __asm__ volatile("int $0x80" : : "a"(20));
    if (!strcmp(what, "signal")) raise(atoi(args[2]));
    if (!strcmp(what, "exit")) return atoi(args[2]);
    if (!strcmp(what, "honest")) {
        char text[64] = "";
        FILE *in = fopen("datasets/in", "r"), *out = fopen("results/out", "w");
        if (!in || !out || !fgets(text, sizeof text, in)) return 1;
        fprintf(out, "%s %s %s", text, args[2], getenv("K"));
    }
    return 0;
}
