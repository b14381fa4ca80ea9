/* A disk that fails, for the simulations: preloaded into a node's process (LD_PRELOAD), it watches
 * the files that lie in one directory. The product knows nothing of it.
 *
 *   CARNET_FAULTS_DIR      the directory; what lies deeper is left alone
 *   CARNET_FAULTS_CONTROL  a page shared with whoever runs the simulation: what shall fail, and
 *                          what happened (see the slots below)
 *   CARNET_FAULTS_SHADOW   a directory for what a power cut would leave; without it, none is kept
 *
 * The shadow holds data/INODE, the content of a file at its last fsync, and names/NAME, the names
 * at the directory's last fsync, as hard links to data. A write touches only the real file; an
 * fsync copies what was written since into the shadow before it returns. So after a SIGKILL the
 * shadow is the disk of a machine whose power was cut. One lock makes every call whole, so that
 * calls are counted in one order.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

enum slot {
    ROOM,    /* bytes by which files may still grow; all ones: as many as they like */
    CALLS,   /* writes and syncs so far */
    FAIL_AT, /* the number of the call that fails with EIO; 0: none */
    STICKY,  /* 1: every later one fails too */
    LIE,     /* 1: a sync of a write-ahead log says that it was done, and does nothing */
    FAILED,  /* calls that were made to fail */
    DIE_AT,  /* the number of the call at which the process is killed, before it is made; 0: none */
    SLOTS
};

enum kind { NONE, PLAIN, DIRECTORY };

struct range {
    uint64_t from, to;
    struct range *next;
};

/* What was written to a file since its last fsync, whoever has it open. */
struct inode {
    ino_t number;
    struct range *dirty;
    struct inode *next;
};

#define FDS 4096
static struct {
    enum kind kind;
    ino_t inode;
    int wal;
} files[FDS];

static struct inode *inodes;
static volatile uint64_t *control;
#define PATH_BYTES (PATH_MAX + 512)
static char home[PATH_MAX], shadow[PATH_MAX];
static size_t home_length;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static int (*real_openat)(int, const char *, int, ...);
static int (*real_close)(int);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static int (*real_ftruncate)(int, off_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_rename)(const char *, const char *);
static int (*real_unlink)(const char *);

static void *must(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) abort();
    return found;
}

static void begin(void) {
    real_openat = must("openat");
    real_close = must("close");
    real_write = must("write");
    real_pwrite = must("pwrite");
    real_ftruncate = must("ftruncate");
    real_fsync = must("fsync");
    real_fdatasync = must("fdatasync");
    real_rename = must("rename");
    real_unlink = must("unlink");
    const char *dir = getenv("CARNET_FAULTS_DIR"), *page = getenv("CARNET_FAULTS_CONTROL");
    const char *copy = getenv("CARNET_FAULTS_SHADOW");
    if (!dir || !page || strlen(dir) >= sizeof home) return;
    int fd = real_openat(AT_FDCWD, page, O_RDWR | O_CLOEXEC);
    if (fd < 0) abort();
    void *mapped = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED) abort();
    real_close(fd);
    control = mapped;
    strcpy(home, dir);
    home_length = strlen(home);
    if (copy) snprintf(shadow, sizeof shadow, "%s", copy);
}

static void enter(void) {
    pthread_once(&once, begin);
    pthread_mutex_lock(&lock);
}

static void leave(void) {
    int kept = errno;
    pthread_mutex_unlock(&lock);
    errno = kept;
}

/* The name of a file in the directory; NULL if it lies elsewhere. */
static const char *inside(const char *path) {
    if (!control || strncmp(path, home, home_length) || path[home_length] != '/') return NULL;
    const char *name = path + home_length + 1;
    return *name && !strchr(name, '/') ? name : NULL;
}

static int ends(const char *name, const char *end) {
    size_t a = strlen(name), b = strlen(end);
    return a >= b && !strcmp(name + a - b, end);
}

static enum kind kind_of(int fd) {
    return control && fd >= 0 && fd < FDS ? files[fd].kind : NONE;
}

static void data_path(char *into, ino_t number) {
    snprintf(into, PATH_BYTES, "%s/data/%llu", shadow, (unsigned long long)number);
}

/* An inode that is new, or whose last name has gone: nothing of it is on the disk. */
static void forget(ino_t number) {
    for (struct inode *one = inodes; one; one = one->next)
        if (one->number == number)
            while (one->dirty) {
                struct range *gone = one->dirty;
                one->dirty = gone->next;
                free(gone);
            }
    if (*shadow) {
        char path[PATH_BYTES];
        data_path(path, number);
        real_unlink(path);
    }
}

static void touch(ino_t number, uint64_t from, uint64_t to) {
    struct inode *one = inodes;
    while (one && one->number != number) one = one->next;
    if (!one) {
        one = calloc(1, sizeof *one);
        if (!one) abort();
        one->number = number;
        one->next = inodes;
        inodes = one;
    }
    if (one->dirty && one->dirty->to == from) {
        one->dirty->to = to;
        return;
    }
    struct range *range = malloc(sizeof *range);
    if (!range) abort();
    *range = (struct range){from, to, one->dirty};
    one->dirty = range;
}

static void copy_range(int from, int to, uint64_t at, uint64_t end) {
    static char block[1 << 16];
    while (at < end) {
        size_t wanted = end - at < sizeof block ? end - at : sizeof block;
        ssize_t got = pread(from, block, wanted, at);
        if (got <= 0) return;
        if (real_pwrite(to, block, got, at) != got) abort();
        at += got;
    }
}

/* What was written to the file since its last fsync is on the disk now. */
static void keep_data(int fd, ino_t number) {
    char path[PATH_BYTES], self[64];
    struct stat now;
    struct inode *one = inodes;
    while (one && one->number != number) one = one->next;
    data_path(path, number);
    snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    int from = real_openat(AT_FDCWD, self, O_RDONLY | O_CLOEXEC);
    int to = real_openat(AT_FDCWD, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (from < 0 || to < 0 || fstat(from, &now)) abort();
    if (real_ftruncate(to, now.st_size)) abort();
    while (one && one->dirty) {
        struct range *range = one->dirty;
        uint64_t end = range->to < (uint64_t)now.st_size ? range->to : (uint64_t)now.st_size;
        copy_range(from, to, range->from, end);
        one->dirty = range->next;
        free(range);
    }
    real_close(from);
    real_close(to);
}

/* The kernel forgets that pages are dirty when writing them back failed. */
static void lose_data(ino_t number) {
    for (struct inode *one = inodes; one; one = one->next)
        if (one->number == number)
            while (one->dirty) {
                struct range *range = one->dirty;
                one->dirty = range->next;
                free(range);
            }
}

static void keep_name(const char *name, ino_t number) {
    char data[PATH_BYTES], kept[PATH_BYTES], fresh[PATH_BYTES];
    struct stat a, b;
    data_path(data, number);
    snprintf(kept, sizeof kept, "%s/names/%.255s", shadow, name);
    snprintf(fresh, sizeof fresh, "%s/fresh", shadow);
    int fd = real_openat(AT_FDCWD, data, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || fstat(fd, &a)) abort();
    real_close(fd);
    if (!stat(kept, &b) && a.st_ino == b.st_ino) return;
    real_unlink(fresh);
    if (link(data, fresh) || real_rename(fresh, kept)) abort();
}

/* The names in the directory are on the disk now. */
static void keep_names(void) {
    char path[PATH_BYTES];
    struct dirent *entry;
    struct stat found;
    DIR *dir = opendir(home);
    if (!dir) abort();
    while ((entry = readdir(dir))) {
        snprintf(path, sizeof path, "%s/%.255s", home, entry->d_name);
        if (!lstat(path, &found) && S_ISREG(found.st_mode) && !ends(path, "-shm"))
            keep_name(entry->d_name, found.st_ino);
    }
    closedir(dir);
    snprintf(path, sizeof path, "%s/names", shadow);
    dir = opendir(path);
    if (!dir) abort();
    while ((entry = readdir(dir))) {
        if (entry->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/%.255s", home, entry->d_name);
        if (!lstat(path, &found)) continue;
        snprintf(path, sizeof path, "%s/names/%.255s", shadow, entry->d_name);
        real_unlink(path);
    }
    closedir(dir);
}

/* Counts a call; whether it shall fail. */
static int fails(void) {
    uint64_t number = ++control[CALLS], at = control[FAIL_AT];
    if (number == control[DIE_AT]) kill(getpid(), SIGKILL);
    int now = at && (number == at || (control[STICKY] && number > at));
    if (now) {
        control[FAILED]++;
        errno = EIO;
    }
    return now;
}

/* How much of a write from `from` on there is room for. */
static size_t room(int fd, uint64_t from, size_t size) {
    struct stat now;
    if (control[ROOM] == UINT64_MAX || fstat(fd, &now)) return size;
    uint64_t end = from + size, length = now.st_size;
    uint64_t grows = end > length ? end - (from > length ? from : length) : 0;
    if (grows <= control[ROOM]) {
        control[ROOM] -= grows;
        return size;
    }
    size_t fits = size - (grows - control[ROOM]);
    control[ROOM] = 0;
    control[FAILED]++;
    errno = ENOSPC;
    return fits;
}

static int opened(int fd, const char *path, int made) {
    if (fd < 0 || fd >= FDS || !control) return fd;
    const char *name = inside(path);
    struct stat found;
    files[fd].kind = NONE;
    if (!strcmp(path, home)) {
        files[fd].kind = DIRECTORY;
    } else if (name && !fstat(fd, &found) && S_ISREG(found.st_mode)) {
        files[fd].kind = PLAIN;
        files[fd].inode = found.st_ino;
        files[fd].wal = ends(name, "-wal");
        if (made) forget(found.st_ino);
    }
    return fd;
}

static int do_open(int at, const char *path, int flags, mode_t mode) {
    enter();
    struct stat before;
    int made = inside(path) && (flags & O_CREAT) && lstat(path, &before) && errno == ENOENT;
    int fd = real_openat(at, path, flags, mode);
    if (fd >= 0 && (flags & O_TRUNC) && !made) {
        opened(fd, path, 0);
        if (kind_of(fd) == PLAIN) touch(files[fd].inode, 0, UINT64_MAX);
    }
    fd = opened(fd, path, made);
    leave();
    return fd;
}

#define MODE(flags, mode)                                                                          \
    mode_t mode = 0;                                                                               \
    if ((flags) & (O_CREAT | O_TMPFILE)) {                                                         \
        va_list rest;                                                                              \
        va_start(rest, flags);                                                                     \
        mode = va_arg(rest, mode_t);                                                               \
        va_end(rest);                                                                              \
    }

int open(const char *path, int flags, ...) {
    MODE(flags, mode)
    return do_open(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    MODE(flags, mode)
    return do_open(AT_FDCWD, path, flags | O_LARGEFILE, mode);
}

int openat(int at, const char *path, int flags, ...) {
    MODE(flags, mode)
    return do_open(at, path, flags, mode);
}

int openat64(int at, const char *path, int flags, ...) {
    MODE(flags, mode)
    return do_open(at, path, flags | O_LARGEFILE, mode);
}

int close(int fd) {
    enter();
    if (fd >= 0 && fd < FDS) files[fd].kind = NONE;
    int done = real_close(fd);
    leave();
    return done;
}

static ssize_t put(int fd, const void *bytes, size_t size, off_t at, int placed) {
    if (kind_of(fd) != PLAIN)
        return placed ? real_pwrite(fd, bytes, size, at) : real_write(fd, bytes, size);
    if (fails()) return -1;
    struct stat now;
    if (!placed && fstat(fd, &now)) return -1;
    if (!placed) {
        int flags = fcntl(fd, F_GETFL);
        at = flags & O_APPEND ? now.st_size : lseek(fd, 0, SEEK_CUR);
    }
    size_t fits = room(fd, at, size);
    if (!fits && size) return -1;
    ssize_t done = placed ? real_pwrite(fd, bytes, fits, at) : real_write(fd, bytes, fits);
    if (done > 0) touch(files[fd].inode, at, at + done);
    return done;
}

ssize_t write(int fd, const void *bytes, size_t size) {
    enter();
    ssize_t done = put(fd, bytes, size, 0, 0);
    leave();
    return done;
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t at) {
    enter();
    ssize_t done = put(fd, bytes, size, at, 1);
    leave();
    return done;
}

ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t at) {
    return pwrite(fd, bytes, size, at);
}

int ftruncate(int fd, off_t size) {
    enter();
    int tracked = kind_of(fd) == PLAIN, done = -1;
    struct stat before;
    if (!tracked || !fails()) {
        if (tracked && fstat(fd, &before)) before.st_size = size;
        done = real_ftruncate(fd, size);
        if (tracked && !done) {
            touch(files[fd].inode, size < before.st_size ? size : before.st_size, UINT64_MAX);
            if (control[ROOM] != UINT64_MAX && size < before.st_size)
                control[ROOM] += before.st_size - size;
        }
    }
    leave();
    return done;
}

int ftruncate64(int fd, off64_t size) {
    return ftruncate(fd, size);
}

static int sync_file(int fd, int (*real)(int)) {
    enum kind kind = kind_of(fd);
    if (kind == NONE) return real(fd);
    if (fails()) {
        if (kind == PLAIN) lose_data(files[fd].inode);
        return -1;
    }
    if (control[LIE] && kind == PLAIN && files[fd].wal) return 0;
    if (!*shadow) return real(fd);
    /* The real disk need not do it: nobody cuts its power. */
    if (kind == PLAIN) keep_data(fd, files[fd].inode);
    else keep_names();
    return 0;
}

int fsync(int fd) {
    enter();
    int done = sync_file(fd, real_fsync);
    leave();
    return done;
}

int fdatasync(int fd) {
    enter();
    int done = sync_file(fd, real_fdatasync);
    leave();
    return done;
}

/* Before a name goes: whether it is the last one of its file. */
static int last_name(const char *path, struct stat *found) {
    return inside(path) && !lstat(path, found) && S_ISREG(found->st_mode) && found->st_nlink == 1;
}

static void gone(const struct stat *found) {
    forget(found->st_ino);
    if (control[ROOM] != UINT64_MAX) control[ROOM] += found->st_size;
}

int rename(const char *from, const char *to) {
    enter();
    struct stat replaced;
    int last = last_name(to, &replaced);
    int done = real_rename(from, to);
    if (!done && last) gone(&replaced);
    if (!done && inside(to) && !inside(from) && *shadow) {
        /* Its syncs were not seen; they are taken for done. */
        int fd = real_openat(AT_FDCWD, to, O_RDONLY | O_CLOEXEC);
        struct stat moved;
        if (fd < 0 || fstat(fd, &moved)) abort();
        forget(moved.st_ino);
        touch(moved.st_ino, 0, UINT64_MAX);
        keep_data(fd, moved.st_ino);
        real_close(fd);
    }
    leave();
    return done;
}

int unlink(const char *path) {
    enter();
    struct stat found;
    int last = last_name(path, &found);
    int done = real_unlink(path);
    if (!done && last) gone(&found);
    leave();
    return done;
}
