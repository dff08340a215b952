/* Workloads that want out, one per first argument; the rest of the arguments is bait that the
 * arena planted. An attempt that works prints ESCAPED; "tried" shows that attempts were made. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static char block[1 << 20];
static const char *bait = "";

static void refused(const char *what, long result) {
    if (result >= 0) printf("ESCAPED %s\n", what);
    else printf("refused %s: %s\n", what, strerror(errno));
}

static void unreadable(const char *path) {
    int file = open(path, O_RDONLY | O_NONBLOCK);
    char byte;
    if (file >= 0 && read(file, &byte, 1) <= 0) close(file), file = -1;
    refused(path, file);
}

static void unwritable(const char *path) {
    int file = open(path, O_WRONLY | O_NONBLOCK);
    if (file >= 0 && write(file, "deny", 4) < 0) close(file), file = -1;
    refused(path, file);
}

static void done(void) { printf("tried\n"); }

static void forks(void) {
    for (;;) fork();
}

static void forest(void) {
    for (int n = 0; n < 4000; n++)
        if (fork() == 0) {
            setsid();
            signal(SIGTERM, SIG_IGN);
        }
    for (;;) pause();
}

static void *rest(void *nothing) {
    for (;;) pause();
    return nothing;
}

static void threads(void) {
    pthread_t made;
    int n = 0;
    while (n < 10000 && pthread_create(&made, 0, rest, 0) == 0) n++;
    if (n > 1000) printf("ESCAPED threads\n");
    done();
    fflush(stdout);
    _exit(0);
}

static void memory(int flags) {
    for (;;) {
        char *part = mmap(0, sizeof block, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
        if (part == MAP_FAILED) _exit(9);
        memset(part, 1, sizeof block);
        if (flags == MAP_SHARED) madvise(part, sizeof block, MADV_DONTNEED);
    }
}

static void memory_file(void) {
    int file = memfd_create("hoard", 0);
    if (file < 0) _exit(9);
    while (write(file, block, sizeof block) > 0) {}
    _exit(9);
}

static void fill(const char *path, int hide) {
    int file = open(path, O_WRONLY | O_CREAT, 0600);
    if (hide) unlink(path);
    while (write(file, block, sizeof block) > 0) usleep(200);
    printf("full: %s\n", strerror(errno));
    done();
}

static void names(const char *folder) {
    char path[128];
    for (int n = 0;; n++) {
        snprintf(path, sizeof path, "%s/%d", folder, n);
        int file = open(path, O_WRONLY | O_CREAT, 0600);
        if (file < 0) break;
        close(file);
    }
    done();
}

static void descriptors(void) {
    int n = 0;
    while (open("/dev/null", O_RDONLY) >= 0) n++;
    if (n > 1000) printf("ESCAPED descriptors\n");
    done();
}

static void flood(int to) {
    memset(block, 'x', sizeof block);
    while (write(to, block, sizeof block) > 0) {}
}

static void trace(void) {
    refused("ptrace parent", ptrace(PTRACE_ATTACH, getppid(), 0, 0));
    refused("ptrace 1", ptrace(PTRACE_SEIZE, 1, 0, 0));
    struct { void *base; size_t size; } here = {block, 8}, there = {(void *)0x400000, 8};
    refused("process_vm_readv", syscall(SYS_process_vm_readv, 1, &here, 1, &there, 1, 0));
    refused("process_vm_writev", syscall(SYS_process_vm_writev, 1, &here, 1, &there, 1, 0));
    refused("pidfd_getfd", syscall(438, syscall(434, 1, 0), 0, 0));
    done();
}

static void proc(void) {
    const char *read_only[] = {"/proc/kcore", "/proc/kmsg", "/proc/1/root" "/etc/shadow", "/etc/shadow",
                               "/proc/self/root" "/etc/shadow", "/proc/kallsyms/x", "/proc/iomem/x",
                               "/sys/kernel/security", "/dev/mem", "/dev/kmem", "/dev/sda", 0};
    const char *write_only[] = {"/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern",
                                "/proc/sys/vm/drop_caches", "/proc/sys/kernel/modprobe",
                                "/proc/self/uid_map", "/sys/kernel/uevent_helper",
                                "/sys/fs/cgroup/cgroup.procs", "/proc/self/setgroups", 0};
    for (int n = 0; read_only[n]; n++) unreadable(read_only[n]);
    for (int n = 0; write_only[n]; n++) unwritable(write_only[n]);
    for (int pid = 2; pid < 400; pid++) {
        char path[64];
        if (pid == getpid()) continue;
        snprintf(path, sizeof path, "/proc/%d/environ", pid);
        if (access(path, F_OK) == 0) unreadable(path);
    }
    done();
}

static void sockets(void) {
    int families[] = {AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, 38 /* alg */, 40 /* vsock */, 44};
    for (size_t n = 0; n < sizeof families / sizeof *families; n++) {
        refused("stream", socket(families[n], SOCK_STREAM, 0));
        refused("raw", socket(families[n], SOCK_RAW, 0));
    }
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    size_t size = strlen(bait) < 90 ? strlen(bait) : 90;
    memcpy(name.sun_path + 1, bait, size); /* an abstract name that the agent's machine has */
    int file = socket(AF_UNIX, SOCK_STREAM, 0);
    refused("abstract", connect(file, (void *)&name,
                                (socklen_t)(sizeof name.sun_family + 1 + size)));
    memset(name.sun_path, 0, sizeof name.sun_path);
    strcpy(name.sun_path, "/var/run/docker.sock");
    refused("engine", connect(file, (void *)&name, sizeof name));
    done();
}

static void signals(void) {
    int own = getpid();
    for (int number = 1; number < 32; number++) signal(number, SIG_IGN);
    kill(-1, SIGKILL);
    kill(getppid(), SIGKILL);
    kill(atoi(bait), SIGKILL); /* a process of the agent's machine */
    for (int pid = 1; pid < 70000; pid++)
        if (pid != own) kill(pid, SIGKILL);
    done();
}

static void links(void) {
    refused("hard link to data", link("/data/in", "/results/in"));
    refused("hard link to algorithm", link("/algorithm", "/results/algorithm"));
    refused("hard link to passwd", link("/etc/passwd", "/results/passwd"));
    refused("hard link out of proc", linkat(AT_FDCWD, "/proc/self/exe", AT_FDCWD, "/results/exe",
                                            AT_SYMLINK_FOLLOW));
    done();
}

static void traversal(void) {
    unreadable("/data/../../../../etc/shadow");
    unreadable("/results/../../../../root" "/.bashrc");
    unreadable("/proc/self/cwd/../../../../../etc/shadow");
    unreadable(bait);
    unwritable(bait);
    refused("move out", rename("/results", "/elsewhere"));
    int top = open("/", O_RDONLY | O_DIRECTORY);
    int up = openat(top, "../../..", O_RDONLY | O_DIRECTORY);
    refused("above the root", faccessat(up, bait + 1, F_OK, 0));
    refused("by handle", syscall(SYS_open_by_handle_at, top, block, O_RDONLY));
    refused("chroot", chroot("/tmp"));
    refused("pivot_root", syscall(SYS_pivot_root, "/", "/tmp"));
    done();
}

static void set_id(void) {
    int file = open("/tmp/sh", O_CREAT | O_WRONLY, 0700);
    close(file);
    chmod("/tmp/sh", 06755);
    refused("setuid", setuid(0));
    refused("setgid", setgid(0));
    refused("setresuid", setresuid(0, 0, 0));
    refused("chown", chown("/tmp/sh", 0, 0));
    if (geteuid() == 0) printf("ESCAPED euid\n");
    done();
}

static void kernel(void) {
    refused("add_key", syscall(SYS_add_key, "user", "x", "x", 1, -3));
    refused("keyctl", syscall(SYS_keyctl, 0, -3, 1));
    refused("request_key", syscall(SYS_request_key, "user", "x", 0, 0));
    refused("io_uring_setup", syscall(SYS_io_uring_setup, 4, block));
    refused("io_uring_register", syscall(427, 0, 0, 0, 0));
    refused("bpf", syscall(SYS_bpf, 0, block, 64));
    refused("perf", syscall(SYS_perf_event_open, block, 0, -1, -1, 0));
    refused("userfaultfd", syscall(SYS_userfaultfd, 0));
    refused("init_module", syscall(SYS_init_module, block, 16, ""));
    refused("kexec", syscall(SYS_kexec_load, 0, 0, 0, 0));
    refused("reboot", syscall(SYS_reboot, 0xfee1dead, 672274793, 0, 0));
    refused("syslog", syscall(SYS_syslog, 2, block, 16));
    refused("settimeofday", syscall(SYS_settimeofday, block, 0));
    refused("sethostname", sethostname("mine", 4));
    refused("swapon", syscall(SYS_swapon, "/tmp/x", 0));
    refused("acct", syscall(SYS_acct, "/tmp/x"));
    refused("quotactl", syscall(SYS_quotactl, 0, 0, 0, 0));
    refused("fanotify", syscall(SYS_fanotify_init, 0, 0));
    refused("terminal", ioctl(0, TIOCSTI, "x"));
    done();
}

static void namespaces(void) {
    int kinds[] = {CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET, CLONE_NEWIPC,
                   CLONE_NEWUTS, CLONE_NEWCGROUP};
    for (size_t n = 0; n < sizeof kinds / sizeof *kinds; n++) {
        refused("unshare", unshare(kinds[n]));
        long child = syscall(SYS_clone, kinds[n] | SIGCHLD, 0, 0, 0, 0);
        if (child == 0) _exit(0);
        refused("clone", child);
    }
    unsigned long long clone3[8] = {CLONE_NEWUSER, 0, 0, 0, SIGCHLD};
    long child = syscall(SYS_clone3, clone3, sizeof clone3);
    if (child == 0) _exit(0);
    refused("clone3", child);
    refused("setns", setns(open("/proc/1/ns/mnt", O_RDONLY), 0));
    done();
}

static void mounts(void) {
    refused("tmpfs", mount("none", "/tmp", "tmpfs", 0, ""));
    refused("bind", mount("/", "/tmp", 0, MS_BIND, ""));
    refused("remount", mount(0, "/data", 0, MS_REMOUNT | MS_BIND, ""));
    refused("proc", mount("proc", "/tmp", "proc", 0, ""));
    refused("umount data", umount2("/data", MNT_DETACH));
    refused("umount proc", umount2("/proc/1", MNT_DETACH));
    refused("fsopen", syscall(430, "tmpfs", 0));
    refused("open_tree", syscall(428, AT_FDCWD, "/", 1));
    refused("move_mount", syscall(429, AT_FDCWD, "/data", AT_FDCWD, "/tmp", 0));
    done();
}

static void write_data(void) {
    chmod("/data/in", 0666);
    unwritable("/data/in");
    refused("create", open("/data/new", O_CREAT | O_WRONLY, 0600));
    refused("truncate", truncate("/data/in", 0));
    refused("chmod", chmod("/data/in", 0777));
    refused("unlink", unlink("/data/in"));
    refused("rename", rename("/data/in", "/results/in"));
    refused("mkdir", mkdir("/data/x", 0700));
    refused("symlink", symlink("/etc", "/data/x"));
    refused("utimes", utimensat(AT_FDCWD, "/data/in", 0, 0));
    refused("root", open("/new", O_CREAT | O_WRONLY, 0600));
    done();
}

static void daemons(void) {
    for (int n = 0; n < 5; n++)
        if (fork() == 0) {
            setsid();
            if (fork() == 0) {
                for (int number = 1; number < 32; number++) signal(number, SIG_IGN);
                for (;;) sleep(1000);
            }
            _exit(0);
        }
    usleep(100000);
    done();
}

static void limits(void) {
    struct rlimit more = {1 << 20, 1 << 20};
    refused("open files", setrlimit(RLIMIT_NOFILE, &more));
    refused("priority", setpriority(PRIO_PROCESS, 0, -20));
    void *locked = mmap(0, 64 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0);
    refused("locked memory", locked == MAP_FAILED ? -1 : 0);
    done();
}

static void deep(void) {
    for (int n = 0; n < 3000; n++)
        if (mkdir("d", 0700) < 0 || chdir("d") < 0) break;
    done();
}

int main(int count, char **args) {
    const char *what = count > 1 ? args[1] : "";
    if (count > 2) bait = args[2];
    setvbuf(stdout, 0, _IOLBF, 0);
#define VERB(name, ...) if (!strcmp(what, name)) { __VA_ARGS__; return 0; }
    VERB("forks", forks())
    VERB("forest", forest())
    VERB("threads", threads())
    VERB("memory", memory(MAP_PRIVATE))
    VERB("shared", memory(MAP_SHARED))
    VERB("memfd", memory_file())
    VERB("disk-tmp", fill("/tmp/big", 0))
    VERB("disk-results", fill("/results/big", 0))
    VERB("disk-hidden", fill("/results/big", 1))
    VERB("names-results", names("/results"))
    VERB("names-tmp", names("/tmp"))
    VERB("descriptors", descriptors())
    VERB("flood", flood(1))
    VERB("flood-error", flood(2))
    VERB("trace", trace())
    VERB("proc", proc())
    VERB("sockets", sockets())
    VERB("signals", signals())
    VERB("links", links())
    VERB("traversal", traversal())
    VERB("set-id", set_id())
    VERB("kernel", kernel())
    VERB("namespaces", namespaces())
    VERB("mounts", mounts())
    VERB("write-data", write_data())
    VERB("daemons", daemons())
    VERB("limits", limits())
    VERB("symlink", symlink("/etc/passwd", "/results/passwd"))
    VERB("symlink-loop", symlink(".", "/results/loop"))
    VERB("fifo", mkfifo("/results/pipe", 0600))
    VERB("device", refused("mknod", mknod("/results/null", S_IFCHR | 0600, 0x103)); done())
    VERB("socket-file", struct sockaddr_un at = {AF_UNIX, "/results/socket"};
         bind(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&at, sizeof at))
    VERB("bad-utf8", close(open("/results/\xff\xfe", O_CREAT | O_WRONLY, 0600)))
    VERB("line-end", close(open("/results/a\nb", O_CREAT | O_WRONLY, 0600)))
    VERB("backslash", close(open("/results/..\\x", O_CREAT | O_WRONLY, 0600)))
    VERB("sparse", int file = open("/results/hole", O_CREAT | O_WRONLY, 0600);
         if (ftruncate(file, 1L << 40) < 0) { lseek(file, 1L << 30, SEEK_SET); write(file, "x", 1); })
    VERB("deep", chdir("/results"); deep())
    VERB("locked-folder", mkdir("/results/x", 0700); chmod("/results/x", 0); sleep(100))
    VERB("stubborn", for (int n = 1; n < 65; n++) signal(n, SIG_IGN); for (;;) sleep(1000))
    VERB("stopped", kill(0, SIGSTOP); for (;;) raise(SIGSTOP))
    VERB("burn", for (volatile unsigned long n = 0;; n++) {})
    VERB("reexec", execv("/proc/self/exe", args); _exit(9))
    VERB("last-words", memset(block, 'y', sizeof block);
         for (int n = 0; n < 64; n++) write(2, block, sizeof block); _exit(255))
    VERB("truncate-log", int log = open("/proc/self/fd/1", O_RDWR | O_TRUNC);
         if (log >= 0) ftruncate(log, 1L << 33); puts("tried"))
#ifdef __x86_64__
    VERB("int80", __asm__ volatile("int $0x80" : : "a"(20)); done())
#endif
    if (!strcmp(what, "honest")) {
        char text[64] = "";
        FILE *in = fopen("/data/in", "r"), *out = fopen("/results/out", "w");
        if (!in || !out || !fgets(text, sizeof text, in)) return 1;
        fprintf(out, "%s %s", text, bait);
        char *folders[] = {"/tmp", "/dev/shm", 0};
        for (int n = 0; folders[n]; n++) {
            char names[4096];
            int folder = open(folders[n], O_RDONLY | O_DIRECTORY);
            if (folder < 0) continue;
            for (long size; (size = syscall(SYS_getdents64, folder, names, sizeof names)) > 0;)
                for (long at = 0; at < size; at += *(unsigned short *)(names + at + 16))
                    if (names[at + 19] != '.') printf("left behind: %s\n", names + at + 19);
        }
        extern char **environ;
        for (char **entry = environ; *entry; entry++) printf("%s\n", *entry);
        return 0;
    }
    return 8;
}
