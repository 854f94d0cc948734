/*
 * A disk on demand, for tests of the real program. Loaded before the C library, it sees each change that the process makes to files below
 * ALLUVIUM_TEST_DISK_ROOT: a step is an operation on a path. It passes each on to the system and
 *
 *   - writes it to the file ALLUVIUM_TEST_DISK_TRACE, if that is set, as "operation path", with the path below the root;
 *   - keeps what a power failure would leave in the folder ALLUVIUM_TEST_DISK_IMAGE, if that is set: the bytes of each file as they were last
 *     synced, and the names in each folder as they were when that folder was last synced;
 *   - makes one step fail, as ALLUVIUM_TEST_DISK_FAULT says: "KIND OPERATION N PATTERN" is the N-th such operation on a path that matches the
 *     pattern. KIND is `die` (the process is killed before the step; a write is cut in half), `eio` or `enospc` (the step fails with that
 *     error), or `full` (that one and each later step that takes room fail with ENOSPC). When it comes, the file
 *     ALLUVIUM_TEST_DISK_HAPPENED is made.
 *
 * It is a file system of POSIX at its weakest: fsync of a file keeps its bytes and not its name, fsync of a folder keeps its names.
 * Calls that the program makes past the C library are not seen; the test checks that it sees the ones that matter.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))real(#name))

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char root[PATH_MAX];
static const char *image;
static int trace = -1;
static char kind[16], fault_op[16], pattern[PATH_MAX];
static long left;
static int full;

static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

__attribute__((constructor)) static void begin(void)
{
    const char *folder = getenv("ALLUVIUM_TEST_DISK_ROOT"), *fault = getenv("ALLUVIUM_TEST_DISK_FAULT"), *file = getenv("ALLUVIUM_TEST_DISK_TRACE");
    if (!folder)
        return;
    image = getenv("ALLUVIUM_TEST_DISK_IMAGE");
    if (file)
        trace = REAL(open)(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fault && sscanf(fault, "%15s %15s %ld %4095s", kind, fault_op, &left, pattern) != 4)
        abort();
    snprintf(root, sizeof root, "%s/", folder);
}

/* The path below the root, or NULL. */
static const char *below(const char *path)
{
    size_t length = strlen(root);
    return length && !strncmp(path, root, length) ? path + length : NULL;
}

static const char *of_fd(int fd, char *path)
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = *root ? readlink(link, path, PATH_MAX - 1) : -1;
    if (length < 0)
        return NULL;
    path[length] = 0;
    /* The root itself is a folder whose names count, too. */
    if ((size_t)length + 1 == strlen(root) && !strncmp(path, root, (size_t)length))
        return ".";
    return below(path);
}

static const char *at(int folder, const char *name, char *path)
{
    char parent[PATH_MAX] = "";
    if (!*root || (*name != '/' && folder != AT_FDCWD && !of_fd(folder, parent)))
        return NULL;
    if (*name != '/' && folder == AT_FDCWD && !getcwd(parent, sizeof parent))
        abort();
    int length = *name == '/' ? snprintf(path, PATH_MAX, "%s", name) : snprintf(path, PATH_MAX, "%s/%s", parent, name);
    return length < PATH_MAX ? below(path) : NULL;
}

static int takes_room(const char *op)
{
    return !strcmp(op, "write") || !strcmp(op, "create") || !strcmp(op, "mkdir") || !strcmp(op, "link") || !strcmp(op, "symlink");
}

/* Says that the fault has come. */
static void happened(void)
{
    const char *file = getenv("ALLUVIUM_TEST_DISK_HAPPENED");
    int fd = file ? REAL(open)(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0644) : -1;
    if (fd < 0)
        abort();
    close(fd);
}

static void die(void)
{
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

/* Begins a step: takes the lock, and returns the error with which it has to fail, or 0. `dies` is set where a write is to be cut. */
static int enter(const char *op, const char *path, int *dies)
{
    pthread_mutex_lock(&lock);
    if (trace >= 0) {
        char line[PATH_MAX + 32];
        int length = snprintf(line, sizeof line, "%s %s\n", op, path);
        if (REAL(write)(trace, line, (size_t)length) != length)
            abort();
    }
    if (full && takes_room(op))
        return ENOSPC;
    if (!left || strcmp(op, fault_op) || fnmatch(pattern, path, 0) || --left)
        return 0;
    happened();
    if (!strcmp(kind, "die")) {
        if (!dies)
            die();
        *dies = 1;
        return 0;
    }
    full = !strcmp(kind, "full");
    return !strcmp(kind, "eio") ? EIO : ENOSPC;
}

static void leave(void) { pthread_mutex_unlock(&lock); }

/* What names a file for as long as the test runs: inode numbers are used again, so the time of birth belongs to it. */
static int key_of(int folder, const char *name, char *key, size_t size)
{
    struct statx found;
    if (statx(folder, name, AT_SYMLINK_NOFOLLOW | (*name ? 0 : AT_EMPTY_PATH), STATX_INO | STATX_BTIME, &found))
        return -1;
    snprintf(key, size, "%llu.%lld.%u", (unsigned long long)found.stx_ino, (long long)found.stx_btime.tv_sec, found.stx_btime.tv_nsec);
    return 0;
}

static void keep_file(int fd, const char *key)
{
    char from[64], to[PATH_MAX], buffer[65536];
    snprintf(from, sizeof from, "/proc/self/fd/%d", fd);
    snprintf(to, sizeof to, "%s/file.%s", image, key);
    int in = REAL(open)(from, O_RDONLY | O_CLOEXEC), out = REAL(open)(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (in < 0 || out < 0)
        abort();
    for (ssize_t got; (got = read(in, buffer, sizeof buffer)) > 0;)
        if (REAL(write)(out, buffer, (size_t)got) != got)
            abort();
    close(in);
    close(out);
}

static void keep_folder(int fd, const char *key)
{
    char from[64], to[PATH_MAX];
    snprintf(from, sizeof from, "/proc/self/fd/%d", fd);
    snprintf(to, sizeof to, "%s/folder.%s", image, key);
    DIR *folder = opendir(from);
    FILE *out = fopen(to, "w");
    if (!folder || !out)
        abort();
    for (struct dirent *entry; (entry = readdir(folder));) {
        char own[96], target[PATH_MAX] = "";
        struct stat found;
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        if (fstatat(dirfd(folder), entry->d_name, &found, AT_SYMLINK_NOFOLLOW) || key_of(dirfd(folder), entry->d_name, own, sizeof own))
            continue;
        if (S_ISLNK(found.st_mode) && readlinkat(dirfd(folder), entry->d_name, target, sizeof target - 1) < 0)
            continue;
        fprintf(out, "%c\t%s\t%s\n", S_ISLNK(found.st_mode) ? 'l' : S_ISDIR(found.st_mode) ? 'd' : 'f', entry->d_name,
                S_ISLNK(found.st_mode) ? target : own);
    }
    fclose(out);
    closedir(folder);
}

static void keep(int fd)
{
    char key[96];
    struct stat found;
    if (!image || fstat(fd, &found) || key_of(fd, "", key, sizeof key))
        return;
    if (S_ISDIR(found.st_mode))
        keep_folder(fd, key);
    else if (S_ISREG(found.st_mode))
        keep_file(fd, key);
}

/* Passes a step on: `call` is the real one, `failed` what the caller gets if the step fails. */
#define STEP(op, path, call, failed)                 \
    do {                                             \
        const char *step_path = (path);              \
        if (!step_path)                              \
            return call;                             \
        int step_error = enter(op, step_path, NULL); \
        if (step_error) {                            \
            leave();                                 \
            errno = step_error;                      \
            return failed;                           \
        }                                            \
        __typeof__(call) step_result = call;         \
        int step_errno = errno;                      \
        leave();                                     \
        errno = step_errno;                          \
        return step_result;                          \
    } while (0)

#define WRITE(fd, call, half)                                 \
    do {                                                      \
        char write_buffer[PATH_MAX];                          \
        const char *write_path = of_fd(fd, write_buffer);     \
        if (!write_path)                                      \
            return call;                                      \
        int write_dies = 0;                                   \
        int write_error = enter("write", write_path, &write_dies); \
        if (write_dies) {                                     \
            (void)!(half);                                    \
            die();                                            \
        }                                                     \
        ssize_t written = write_error ? -1 : call;            \
        int write_errno = write_error ? write_error : errno;  \
        leave();                                              \
        errno = write_errno;                                  \
        return written;                                       \
    } while (0)

ssize_t write(int fd, const void *bytes, size_t size) { WRITE(fd, REAL(write)(fd, bytes, size), REAL(write)(fd, bytes, size / 2)); }
ssize_t writev(int fd, const struct iovec *parts, int count) { WRITE(fd, REAL(writev)(fd, parts, count), REAL(writev)(fd, parts, count / 2)); }
ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset)
{
    WRITE(fd, REAL(pwrite)(fd, bytes, size, offset), REAL(pwrite)(fd, bytes, size / 2, offset));
}
ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t offset)
{
    WRITE(fd, REAL(pwrite64)(fd, bytes, size, offset), REAL(pwrite64)(fd, bytes, size / 2, offset));
}
ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t size, unsigned flags)
{
    WRITE(out, REAL(copy_file_range)(in, from, out, to, size, flags), 0);
}

static int synced(int fd, int (*call)(int))
{
    char buffer[PATH_MAX];
    const char *path = of_fd(fd, buffer);
    if (!path)
        return call(fd);
    int error = enter("sync", path, NULL);
    int result = error ? -1 : call(fd);
    if (!result)
        keep(fd);
    leave();
    if (error)
        errno = error;
    return result;
}

int fsync(int fd) { return synced(fd, REAL(fsync)); }
int fdatasync(int fd) { return synced(fd, REAL(fdatasync)); }

static const char *changed(int folder, const char *name, int flags, char *path)
{
    /* Opening a file for reading changes nothing. */
    if (!(flags & (O_CREAT | O_TRUNC)))
        return NULL;
    return at(folder, name, path);
}

#define OPEN(folder, name, flags, call)                                         \
    do {                                                                        \
        char open_buffer[PATH_MAX];                                             \
        va_list more;                                                           \
        va_start(more, flags);                                                  \
        mode_t mode = (flags) & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; \
        va_end(more);                                                           \
        STEP("create", changed(folder, name, flags, open_buffer), call, -1);     \
    } while (0)

int open(const char *name, int flags, ...) { OPEN(AT_FDCWD, name, flags, REAL(open)(name, flags, mode)); }
int open64(const char *name, int flags, ...) { OPEN(AT_FDCWD, name, flags, REAL(open64)(name, flags, mode)); }
int openat(int folder, const char *name, int flags, ...) { OPEN(folder, name, flags, REAL(openat)(folder, name, flags, mode)); }
int openat64(int folder, const char *name, int flags, ...) { OPEN(folder, name, flags, REAL(openat64)(folder, name, flags, mode)); }

int ftruncate(int fd, off_t size)
{
    char buffer[PATH_MAX];
    STEP("truncate", of_fd(fd, buffer), REAL(ftruncate)(fd, size), -1);
}
int ftruncate64(int fd, off64_t size)
{
    char buffer[PATH_MAX];
    STEP("truncate", of_fd(fd, buffer), REAL(ftruncate64)(fd, size), -1);
}
int rename(const char *from, const char *to)
{
    char buffer[PATH_MAX];
    STEP("rename", at(AT_FDCWD, to, buffer), REAL(rename)(from, to), -1);
}
int renameat(int from_folder, const char *from, int to_folder, const char *to)
{
    char buffer[PATH_MAX];
    STEP("rename", at(to_folder, to, buffer), REAL(renameat)(from_folder, from, to_folder, to), -1);
}
int link(const char *from, const char *to)
{
    char buffer[PATH_MAX];
    STEP("link", at(AT_FDCWD, to, buffer), REAL(link)(from, to), -1);
}
int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags)
{
    char buffer[PATH_MAX];
    STEP("link", at(to_folder, to, buffer), REAL(linkat)(from_folder, from, to_folder, to, flags), -1);
}
int symlink(const char *target, const char *name)
{
    char buffer[PATH_MAX];
    STEP("symlink", at(AT_FDCWD, name, buffer), REAL(symlink)(target, name), -1);
}
int unlink(const char *name)
{
    char buffer[PATH_MAX];
    STEP("remove", at(AT_FDCWD, name, buffer), REAL(unlink)(name), -1);
}
int unlinkat(int folder, const char *name, int flags)
{
    char buffer[PATH_MAX];
    STEP("remove", at(folder, name, buffer), REAL(unlinkat)(folder, name, flags), -1);
}
int rmdir(const char *name)
{
    char buffer[PATH_MAX];
    STEP("remove", at(AT_FDCWD, name, buffer), REAL(rmdir)(name), -1);
}
int mkdir(const char *name, mode_t mode)
{
    char buffer[PATH_MAX];
    STEP("mkdir", at(AT_FDCWD, name, buffer), REAL(mkdir)(name, mode), -1);
}
int mkdirat(int folder, const char *name, mode_t mode)
{
    char buffer[PATH_MAX];
    STEP("mkdir", at(folder, name, buffer), REAL(mkdirat)(folder, name, mode), -1);
}
