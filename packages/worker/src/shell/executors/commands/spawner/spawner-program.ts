import { BEGUN_MAX } from './held-reports.ts';

/**
 * What a spawner runs: a Python program, since a Python of 3.8 or later has `posix_spawn`, which
 * starts a process without copying the page tables of the one that asks, and tells exit codes from
 * signals, which a shell does not. It reads frames from its standard input and writes frames to its
 * standard output; `spawner-frames.ts` describes them.
 *
 * Each command is the leader of a session of its own. Standard input that ends means that the
 * worker is gone, however it went: what runs gets SIGTERM, and SIGKILL one second later.
 */
export const SPAWNER_PROGRAM: string = `
import collections, errno, fcntl, gc, mmap, os, select, signal, struct, sys, time

STOP_GRACE, GONE, LOOK, SILENT, LINGER, NOTICE = 2.0, 0.5, 0.02, 0.1, 2.0, 0.005
BRIEF, HOLD, IDLE = 0.003, 0.003, 1.0
# With so many commands ahead the worker need not hear of an end at once.
AMPLE = 2
ENDED = struct.Struct('<IcIiiQQIIQII')
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
    __slots__ = ('ident', 'lane', 'limit', 'captures', 'streams', 'pid', 'place', 'begin',
                 'notice_at', 'status', 'exited', 'stopping', 'kill_at', 'silent_at')

    def __init__(self, ident, lane, limit):
        self.ident = ident
        self.lane = lane
        self.limit = limit
        self.captures = None
        self.streams = []
        self.pid = 0
        self.place = None
        self.begin = clock()
        self.notice_at = self.begin + NOTICE
        self.status = None
        self.exited = 0.0
        self.stopping = False
        self.kill_at = None
        self.silent_at = 0.0


base = {}
ignored = []
# By number; and of each lane that is at work what it begins next.
runs = {}
lanes = {}
readers = {}
found = {}
poll = select.poll()
wake, wakes = os.pipe()
# What commands start with as their standard input is in its place already.
orders, reports = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3) for fd in (0, 1))
null = os.open('/dev/null', os.O_RDWR)
for fd in (0, 1):
    os.dup2(null, fd)


# Ends that are told together. In a file of the worker's, who finds them there if this process dies.
HEAD = struct.Struct('<I')
held = mmap.mmap(3, 0)
held_bytes = 0
held_at = 0.0
os.close(3)
# Behind the reports: what runs, so that it is known if this process dies before it tells. The pid is
# written before the number it belongs to.
BEGUN = struct.Struct('<II')
places = list(range(${BEGUN_MAX}))
room = len(held) - BEGUN.size * len(places)


def note(run):
    if places:
        run.place = places.pop()
        BEGUN.pack_into(held, room + BEGUN.size * run.place, run.pid, run.ident)


def hold(report):
    global held_bytes, held_at
    if HEAD.size + held_bytes + len(report) > room:
        flush()
        if HEAD.size + len(report) > room:
            write(report)
            return
    if held_bytes == 0:
        held_at = clock()
    at = HEAD.size + held_bytes
    held[at:at + len(report)] = report
    held_bytes += len(report)
    HEAD.pack_into(held, 0, held_bytes)


def flush():
    global held_bytes
    if held_bytes > 0:
        write(held[HEAD.size:HEAD.size + held_bytes])
        held_bytes = 0
        HEAD.pack_into(held, 0, 0)


def may_hold():
    """Whether the worker has nothing to do about what is held."""
    return clock() - held_at < HOLD and all(len(queue) >= AMPLE for queue in lanes.values())


def send(kind, *parts):
    flush()
    body = b''.join((kind,) + parts)
    write(struct.pack('<I', len(body)) + body)


def write(data):
    try:
        sent = os.write(reports, data)
        while sent < len(data):
            data = data[sent:]
            sent = os.write(reports, data)
    except BrokenPipeError:
        raise WorkerGone()


# A command that has just begun is waited for by its signal, in one sleep. After a moment all that
# may happen is waited for; most commands close their output as they end, so that this tells of
# their end, and only while there are others, a signal does.
CHILD = (signal.SIGCHLD,)
waits = hasattr(signal, 'sigtimedwait')
watching = False
# The last command wrote more than a pipe holds: the next may have to be read from to end.
bulky = False
PIPE = 65536


def watch(wanted):
    global watching
    if wanted == watching:
        return
    watching = wanted
    if wanted:
        signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        poll.register(wake, select.POLLIN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, CHILD)
    else:
        signal.pthread_sigmask(signal.SIG_BLOCK, CHILD)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        poll.unregister(wake)


def signal_group(run, number):
    try:
        os.killpg(run.pid, number)
        return True
    except ProcessLookupError:
        return False
    except PermissionError:
        return True


def candidates(file, path):
    if b'/' in file:
        yield file
        return
    known = found.get((path, file))
    if known is not None:
        yield known
    for part in path.split(b':'):
        yield (part or b'.') + b'/' + file


def spawn(argv, env, actions, group):
    file = argv[0]
    places = env.get(b'PATH', b'/bin:/usr/bin')
    denied = None
    for path in candidates(file, places):
        try:
            pid = execute(path, argv, env, actions, group)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except PermissionError as error:
            denied = error
            continue
        if path[:1] == b'/' and path != file:
            found[(places, file)] = path
        return pid
    raise denied or OSError(errno.ENOENT, 'not found')


def execute(path, argv, env, actions, group=b''):
    try:
        if group:
            return enter(group, path, argv, env, actions)
        return os.posix_spawn(path, argv, env, file_actions=actions, setsid=True,
                              setsigmask=(), setsigdef=ignored)
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise
    return execute(b'/bin/sh', [b'/bin/sh', path] + argv[1:], env, actions, group)


def enter(group, path, argv, env, actions):
    """As posix_spawn, which cannot put the process into a control group before it runs."""
    fails, failed = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            try:
                with open(group, 'wb', 0) as file:
                    file.write(b'0')
            except OSError:
                # The worker looks at it then, too.
                pass
            for _, source, fd in actions:
                os.dup2(source, fd)
            for number in ignored:
                signal.signal(number, signal.SIG_DFL)
            signal.set_wakeup_fd(-1)
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            os.execve(path, argv, env)
        except OSError as error:
            os.write(failed, struct.pack('<I', error.errno))
        finally:
            os._exit(127)
    os.close(failed)
    told = os.read(fails, 4)
    os.close(fails)
    if told:
        os.waitpid(pid, 0)
        number = struct.unpack('<I', told)[0]
        raise OSError(number, os.strerror(number))
    return pid


def give(fields):
    """Starts a command, or keeps it until those before it in its lane have ended."""
    queue = lanes.get(fields[2])
    if queue is not None:
        queue.append(fields)
    elif start(fields):
        lanes[fields[2]] = collections.deque()


def proceed(lane):
    """The command that had the lane has ended, and its end is told."""
    queue = lanes[lane]
    while queue:
        if start(queue.popleft()):
            return
    del lanes[lane]
    flush()


def take_back(lane):
    """Tells of all that has not begun in a lane, the last one first."""
    queue = lanes[lane]
    while queue:
        send(b't', struct.pack('<I', int(queue.pop()[1])))


def ask_back(ident):
    """Takes back one command, unless it has begun."""
    text = str(ident).encode()
    for queue in lanes.values():
        for fields in queue:
            if fields[1] == text:
                queue.remove(fields)
                send(b't', struct.pack('<I', ident))
                return
    send(b'k', struct.pack('<I', ident))


def start(fields):
    ident, lane, limit, cwd, out, err, group, count = fields[1:9]
    count = int(count)
    run = Run(int(ident), lane, int(limit))
    env = dict(base)
    for text in fields[9:9 + count]:
        name, _, value = text.partition(b'=')
        env[name] = value
    argv = fields[9 + count:]
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
        actions = [(dup, targets[0], 1), (dup, targets[1], 2)]
        run.pid = spawn(argv, env, actions, group)
        note(run)
    except (OSError, ValueError) as error:
        number = getattr(error, 'errno', None) or 0
        name = errno.errorcode.get(number, 'EINVAL').encode()
        reason = os.strerror(number).encode() if number else str(error).encode()
        for fd in opened:
            os.close(fd)
        send(b'f', struct.pack('<I', run.ident), b'\\0'.join((what, name, reason)))
        return False
    for read, index, streams in reads:
        opened.remove(read)
        readers[read] = (run, index, streams)
        run.streams.append(read)
        poll.register(read, select.POLLIN)
    for fd in opened:
        os.close(fd)
    runs[run.ident] = run
    return True


def stop(ident):
    run = runs.get(ident)
    if run is None:
        ask_back(ident)
        return
    # What is behind it is to find the lane as whoever stopped it wants it.
    take_back(run.lane)
    if run.stopping or run.status is not None:
        return
    run.stopping = True
    run.kill_at = clock() + STOP_GRACE
    signal_group(run, signal.SIGTERM)


def close(fd):
    run = readers.pop(fd)[0]
    run.streams.remove(fd)
    poll.unregister(fd)
    os.close(fd)
    if not run.streams and run.status is None:
        reap(run)


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
        if run.captures is None:
            run.captures = (Capture(run.limit), Capture(run.limit))
        run.captures[index].push(chunk)


def reap(run):
    pid, status = os.waitpid(run.pid, os.WNOHANG)
    if pid != 0:
        run.status = status
        run.exited = clock()
        run.silent_at = run.exited + SILENT


def reap_all():
    for run in list(runs.values()):
        if run.status is None:
            reap(run)


def settle(now):
    """Does what is due, and tells how long there is nothing to do."""
    next_at = now + (IDLE if away else 3600)
    needs_watch = False
    ended = False
    for run in list(runs.values()):
        if run.kill_at is not None:
            if now >= run.kill_at:
                run.kill_at = None
                signal_group(run, signal.SIGKILL)
            else:
                next_at = min(next_at, run.kill_at)
        if run.status is None:
            if run.notice_at is not None:
                if now >= run.notice_at:
                    run.notice_at = None
                    send(b's', struct.pack('<II', run.ident, run.pid))
                else:
                    next_at = min(next_at, run.notice_at)
            if run.notice_at is None or not run.streams:
                needs_watch = True
        elif run.stopping and now < run.exited + STOP_GRACE + GONE and signal_group(run, 0):
            next_at = min(next_at, now + LOOK)
        elif run.streams and now < run.silent_at and now < run.exited + LINGER:
            next_at = min(next_at, run.silent_at, run.exited + LINGER)
        else:
            finish(run, now)
            ended = True
    if ended and runs:
        # Others may have begun.
        return settle(now)
    if needs_watch and not watching:
        watch(True)
        # One may have ended before the signal was looked for.
        reap_all()
        return settle(now)
    if watching and not needs_watch:
        watch(False)
    return next_at - now


def finish(run, now):
    global bulky
    for fd in list(run.streams):
        close(fd)
    del runs[run.ident]
    if run.place is not None:
        places.append(run.place)
    code, number = os.WEXITSTATUS(run.status), 0
    if os.WIFSIGNALED(run.status):
        code, number = 0, os.WTERMSIG(run.status)
    micros = int((now - run.begin) * 1e6)
    parts, numbers = [], (0, 0, 0, 0, 0, 0)
    bulky = run.captures is not None and sum(c.total for c in run.captures) > PIPE
    if run.captures is not None:
        numbers = []
        for capture in run.captures:
            capture.cut()
            numbers += (capture.total, len(capture.head), len(capture.tail))
            parts += (capture.head, capture.tail)
    size = ENDED.size - 4 + sum(map(len, parts))
    head = ENDED.pack(size, b'e', run.ident, code, number, micros, *numbers)
    hold(b''.join((head, *parts)) if parts else head)
    proceed(run.lane)


away = False
buffer = b''


def control():
    global away, buffer
    chunk = os.read(orders, 65536)
    if not chunk:
        raise WorkerGone()
    if buffer:
        chunk = buffer + chunk
    at, end = 0, len(chunk)
    while end - at >= 4:
        size = int.from_bytes(chunk[at:at + 4], 'little')
        if end - at - 4 < size:
            break
        fields = chunk[at + 4:at + 4 + size].split(b'\\0')
        at += 4 + size
        if fields[0] == b'R':
            away = True
            give(fields)
        elif fields[0] == b'S':
            stop(int(fields[1]))
        elif fields[0] == b'T':
            ask_back(int(fields[1]))
        else:
            base.clear()
            base.update(text.partition(b'=')[::2] for text in fields[1:] if text)
    buffer = chunk[at:]


def brief_wait():
    """How long to wait for nothing but the end of commands that have just begun."""
    if not waits or not runs or watching or bulky:
        return 0
    first = None
    for run in runs.values():
        if run.status is not None:
            return 0
        first = first or run
    return first.begin + BRIEF - clock()


def abandon():
    left = [run for run in runs.values() if run.status is None]
    for number in (signal.SIGTERM, signal.SIGKILL):
        for run in left:
            signal_group(run, number)
        if left and number == signal.SIGTERM:
            time.sleep(1)


def serve():
    global away
    os.set_blocking(wake, False)
    os.set_blocking(wakes, False)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_BLOCK, CHILD)
    ignored.extend(n for n in range(1, 32) if signal.getsignal(n) == signal.SIG_IGN)
    os.chdir('/')
    probe = execute(b'/bin/sh', [b'sh', b'-c', b'kill -s PIPE $$'], {}, [])
    status = os.waitpid(probe, 0)[1]
    if not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGPIPE:
        sys.exit(1)
    poll.register(orders, select.POLLIN)
    gc.freeze()
    send(b'r')
    wait = 3600
    while True:
        brief = brief_wait()
        if held_bytes > 0 and (brief <= 0 or not may_hold()):
            flush()
        if brief > 0:
            wait -= brief
            if signal.sigtimedwait(CHILD, brief) is not None:
                reap_all()
                wait = 0
        events = poll.poll(int(wait * 1000) + 1 if wait > 0 else 0)
        for fd, event in events:
            if fd == orders:
                control()
            elif fd == wake:
                os.read(wake, 4096)
                reap_all()
            elif fd in readers:
                read_stream(fd, event)
        if away and not events and not runs:
            # A file system is not kept busy by who has nothing to do in it.
            os.chdir('/')
            away = False
        wait = settle(clock())


try:
    serve()
except WorkerGone:
    abandon()
`;
