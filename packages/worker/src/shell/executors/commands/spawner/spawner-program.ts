/**
 * What a spawner runs: a Python program, since a Python of 3.8 or later has `posix_spawn`, which
 * starts a process without copying the page tables of the one that asks, and tells exit codes from
 * signals, which a shell does not. It reads frames from its standard input and writes frames to its
 * standard output; `spawner-frames.ts` describes them.
 *
 * Each command is the leader of a session of its own. Standard input that ends means that the
 * worker is gone, however it went: what runs gets SIGTERM, and SIGKILL one second later.
 */
export const SPAWNER_PROGRAM = `
import errno, os, select, signal, struct, sys, time

STOP_GRACE, GONE, LOOK, SILENT, LINGER, NOTICE = 2.0, 0.5, 0.02, 0.1, 2.0, 0.005
ENDED = struct.Struct('<IiiQQIIQII')
clock = time.monotonic


class WorkerGone(Exception):
    pass


class Capture:
    def __init__(self, limit):
        self.head_max = (limit + 1) // 2
        self.tail_max = limit - self.head_max
        self.head = bytearray()
        self.tail = bytearray()
        self.total = 0

    def push(self, chunk):
        self.total += len(chunk)
        room = self.head_max - len(self.head)
        if room > 0:
            self.head += chunk[:room]
            chunk = chunk[room:]
        if chunk:
            self.tail += chunk
            if len(self.tail) > 2 * self.tail_max + 65536:
                self.cut()

    def cut(self):
        if len(self.tail) > self.tail_max:
            del self.tail[:len(self.tail) - self.tail_max]


class Run:
    def __init__(self, ident, limit):
        self.ident = ident
        self.captures = (Capture(limit), Capture(limit))
        self.streams = set()
        self.pid = 0
        self.begin = clock()
        self.notice_at = self.begin + NOTICE
        self.status = None
        self.exited = 0.0
        self.stopping = False
        self.kill_at = None
        self.silent_at = 0.0


base = {}
ignored = []
runs = {}
readers = {}
found = {}
poll = select.poll()
null = os.open('/dev/null', os.O_RDWR)


def send(kind, *parts):
    body = b''.join((kind,) + parts)
    data = memoryview(struct.pack('<I', len(body)) + body)
    try:
        while data:
            data = data[os.write(1, data):]
    except BrokenPipeError:
        raise WorkerGone()


def signal_group(run, number):
    try:
        os.killpg(run.pid, number)
        return True
    except ProcessLookupError:
        return False
    except PermissionError:
        return True


def candidates(file, env):
    if b'/' in file:
        return [file]
    path = env.get(b'PATH', b'/bin:/usr/bin')
    known = found.get((path, file))
    tried = [(part or b'.') + b'/' + file for part in path.split(b':')]
    return tried if known is None else [known] + tried


def spawn(argv, env, actions):
    file = argv[0]
    denied = None
    for path in candidates(file, env):
        try:
            pid = execute(path, argv, env, actions)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except PermissionError as error:
            denied = error
            continue
        if path[:1] == b'/' and path != file:
            found[(env.get(b'PATH', b'/bin:/usr/bin'), file)] = path
        return pid
    raise denied or OSError(errno.ENOENT, 'not found')


def execute(path, argv, env, actions):
    options = dict(file_actions=actions, setsid=True, setsigmask=[], setsigdef=ignored)
    try:
        return os.posix_spawn(path, argv, env, **options)
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise
        return os.posix_spawn(b'/bin/sh', [b'/bin/sh', path] + argv[1:], env, **options)


def start(fields):
    ident, limit, cwd, out, err, count = fields[1:7]
    count = int(count)
    run = Run(int(ident), int(limit))
    env = dict(base)
    for text in fields[7:7 + count]:
        name, _, value = text.partition(b'=')
        env[name] = value
    argv = fields[7 + count:]
    opened, reads, what = [], [], b'cwd'
    try:
        os.chdir(cwd)
        targets = []
        for index, target in enumerate((out, err)):
            what = (b'stdout', b'stderr')[index]
            how = target[:1]
            if how == b'=':
                targets.append(targets[0])
            elif how == b'i':
                targets.append(null)
            elif how == b'c' or how == b's':
                read, write = os.pipe()
                opened += (read, write)
                reads.append((read, index, how == b's'))
                targets.append(write)
            else:
                flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
                flags |= os.O_APPEND if how == b'a' else os.O_TRUNC
                opened.append(os.open(target[1:], flags, 0o666))
                targets.append(opened[-1])
        what = b'program'
        dup = os.POSIX_SPAWN_DUP2
        actions = [(dup, null, 0), (dup, targets[0], 1), (dup, targets[1], 2)]
        run.pid = spawn(argv, env, actions)
    except (OSError, ValueError) as error:
        number = getattr(error, 'errno', None) or 0
        name = errno.errorcode.get(number, 'EINVAL').encode()
        reason = os.strerror(number).encode() if number else str(error).encode()
        for fd in opened:
            os.close(fd)
        send(b'f', struct.pack('<I', run.ident), b'\\0'.join((what, name, reason)))
        return
    finally:
        os.chdir('/')
    for fd in opened:
        if not any(fd == read for read, _, _ in reads):
            os.close(fd)
    for read, index, streams in reads:
        readers[read] = (run, index, streams)
        run.streams.add(read)
        poll.register(read, select.POLLIN)
    runs[run.ident] = run


def stop(ident):
    run = runs.get(ident)
    if run is None or run.stopping or run.status is not None:
        return
    run.stopping = True
    run.kill_at = clock() + STOP_GRACE
    signal_group(run, signal.SIGTERM)


def close(fd):
    run = readers.pop(fd)[0]
    run.streams.discard(fd)
    poll.unregister(fd)
    os.close(fd)


def read_stream(fd, event):
    run, index, streams = readers[fd]
    chunk = os.read(fd, 65536) if event & select.POLLIN else b''
    if not chunk:
        close(fd)
        return
    run.silent_at = clock() + SILENT
    if streams:
        send(b'o', struct.pack('<IB', run.ident, index), chunk)
    else:
        run.captures[index].push(chunk)


def reap():
    for run in list(runs.values()):
        if run.status is None:
            pid, status = os.waitpid(run.pid, os.WNOHANG)
            if pid != 0:
                run.status = status
                run.exited = clock()
                run.silent_at = run.exited + SILENT


def settle(now):
    """Does what is due, and tells how long there is nothing to do."""
    next_at = now + 3600
    for run in list(runs.values()):
        due = []
        if run.kill_at is not None:
            if now >= run.kill_at:
                run.kill_at = None
                signal_group(run, signal.SIGKILL)
            else:
                due.append(run.kill_at)
        if run.status is None:
            if run.notice_at is not None:
                if now >= run.notice_at:
                    run.notice_at = None
                    send(b's', struct.pack('<II', run.ident, run.pid))
                else:
                    due.append(run.notice_at)
        elif run.stopping and now < run.exited + STOP_GRACE + GONE and signal_group(run, 0):
            due.append(now + LOOK)
        elif run.streams and now < run.silent_at and now < run.exited + LINGER:
            due.append(min(run.silent_at, run.exited + LINGER))
        else:
            finish(run, now)
            continue
        if due:
            next_at = min(next_at, *due)
    return next_at - now


def finish(run, now):
    for fd in list(run.streams):
        close(fd)
    del runs[run.ident]
    code, number = os.WEXITSTATUS(run.status), 0
    if os.WIFSIGNALED(run.status):
        code, number = 0, os.WTERMSIG(run.status)
    parts, numbers = [], []
    for capture in run.captures:
        capture.cut()
        numbers += (capture.total, len(capture.head), len(capture.tail))
        parts += (capture.head, capture.tail)
    micros = int((now - run.begin) * 1e6)
    send(b'e', ENDED.pack(run.ident, code, number, micros, *numbers), *parts)


def control(buffer):
    chunk = os.read(0, 262144)
    if not chunk:
        raise WorkerGone()
    buffer += chunk
    at = 0
    while len(buffer) - at >= 4:
        size = struct.unpack_from('<I', buffer, at)[0]
        if len(buffer) - at - 4 < size:
            break
        fields = bytes(buffer[at + 4:at + 4 + size]).split(b'\\0')
        at += 4 + size
        if fields[0] == b'R':
            start(fields)
        elif fields[0] == b'S':
            stop(int(fields[1]))
        else:
            base.clear()
            base.update(text.partition(b'=')[::2] for text in fields[1:] if text)
    del buffer[:at]


def abandon():
    left = [run for run in runs.values() if run.status is None]
    for number in (signal.SIGTERM, signal.SIGKILL):
        for run in left:
            signal_group(run, number)
        if left and number == signal.SIGTERM:
            time.sleep(1)


def serve():
    wake, write = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    ignored.extend(n for n in range(1, 32) if signal.getsignal(n) == signal.SIG_IGN)
    os.chdir('/')
    probe = execute(b'/bin/sh', [b'sh', b'-c', b'kill -s PIPE $$'], {}, [])
    status = os.waitpid(probe, 0)[1]
    if not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGPIPE:
        sys.exit(1)
    poll.register(0, select.POLLIN)
    poll.register(wake, select.POLLIN)
    buffer = bytearray()
    send(b'r')
    wait = 3600
    while True:
        for fd, event in poll.poll(int(wait * 1000) + 1):
            if fd == 0:
                control(buffer)
            elif fd == wake:
                os.read(wake, 4096)
                reap()
            elif fd in readers:
                read_stream(fd, event)
        wait = settle(clock())


try:
    serve()
except WorkerGone:
    abandon()
`;
