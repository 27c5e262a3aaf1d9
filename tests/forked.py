"""Python processes that begin with PyTorch, TensorFlow and the package loaded: what is slow to import is imported once for many of them

    python -S tests/forked.py -m MODULE ... | -c CODE ... | SCRIPT ...

does what `python` does with the same arguments. The process is forked from a server that tests share: with this one's environment, folder, standard streams and ignored
signals; it gets the signals that this one gets, ends with it, and this one ends as it did. Where the variable FORKED names no server it is `python` itself.
Tests take the command from `command()` and, for Jupyter's kernels, `kernels()`. It imports little, for it begins often."""
import json, os, select, signal, socket, sys

HERE = os.path.abspath(__file__)
ROOT = os.path.dirname(os.path.dirname(HERE))
PRELOAD = ['doomed', 'jingles.cli', 'jingles.training', 'jingles.generate', 'jingles.studio', 'jingles.evaluation.frameworks', 'jingles.evaluation.watch', 'jingles.data.cards',
           'jingles.data.recordings', 'accelerate', 'tensorflow', 'torch.distributed', 'papermill.cli', 'ipykernel.kernelapp', 'nbdev.process', 'nbdev.doclinks', 'nbdev.frontmatter', 'matplotlib.pyplot', 'librosa', 'scipy.signal', 'sklearn.ensemble']
CLI = 'import sys; sys.argv[0] = "jingles"; from jingles.cli import main; main()'
INLINE = 'module://matplotlib_inline.backend_inline'
STARTED = set()      # folders of servers that this process has seen to
ALONE = dict(FORKED='')      # environment of processes that are not forked: those of torch.distributed, whose threads and sockets are not for sharing
PASSED_ON = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2]


# ---- the server

def serve(listener, owner):
    """Fork what is asked for, pass signals on to it, say how it ended, and end it when nobody waits for it, until the process `owner` is gone.
    Returns in the new processes alone, with what is asked of them"""
    import gc, importlib, shutil
    for name in PRELOAD:
        try: importlib.import_module(name)
        except ImportError: pass                      # what a test then misses, it names itself
    gc.collect()
    gc.freeze()                                       # memory stays shared
    gone, asking, running = os.pidfd_open(owner), {}, {}       # a connection's process, a process' connection
    forsaken = set()                                  # connections whose other end is gone
    while True:
        ready = select.select([listener, gone, *running, *(asking.keys() - forsaken)], [], [])[0]
        for it in ready:
            if it is listener:
                connection, _ = listener.accept()
                request, fds = receive(connection)
                if not request:
                    for fd in fds: os.close(fd)
                    connection.close()
                    continue
                if not (pid := os.fork()):
                    for open_one in (listener, connection, *asking): open_one.close()
                    for open_one in (gone, *running): os.close(open_one)
                    return request, fds
                for fd in fds: os.close(fd)
                asking[connection] = pid
                running[os.pidfd_open(pid)] = connection
            elif it == gone:
                for pid in asking.values(): os.kill(pid, signal.SIGKILL)
                shutil.rmtree(os.environ['FORKED'], ignore_errors=True)
                os._exit(0)
            elif it in running:
                connection = running.pop(it)
                forsaken.discard(connection)
                os.close(it)
                status = os.waitstatus_to_exitcode(os.waitpid(asking.pop(connection), 0)[1])
                try: connection.send(str(status).encode())
                except OSError: pass                  # nobody waits
                connection.close()
            elif it in asking:
                number = it.recv(1)
                os.kill(asking[it], number[0] if number else signal.SIGKILL)
                if not number: forsaken.add(it)


def receive(connection):
    "What a client asks for, and its standard streams; nothing where it only wanted to know whether there is a server"
    data, fds, _, _ = socket.recv_fds(connection, 1 << 16, 3)
    while data and not data.endswith(b'\0'):
        if not (more := connection.recv(1 << 16)): return None, fds
        data += more
    return data and json.loads(data[:-1]), fds


def become(request, fds):
    "Turn this process into what is asked for, but for its program"
    os.setsid()
    for fd, opened in enumerate(fds): os.dup2(opened, fd); os.close(opened)
    os.chdir(request['cwd'])
    os.environ.clear()
    os.environ.update(request['env'])
    for number in PASSED_ON: signal.signal(number, signal.SIG_IGN if number in request['ignored'] else signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    sys.stdin, sys.stdout, sys.stderr = open(0, closefd=False), open(1, 'w', closefd=False), open(2, 'w', buffering=1, closefd=False)
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr
    sys.path[:0] = [p for p in os.environ.get('PYTHONPATH', '').split(os.pathsep) if p and p not in sys.path]
    if 'ipykernel_launcher' in request['args']: os.environ.setdefault('MPLBACKEND', INLINE)      # as the kernel does, too late for what is loaded
    import matplotlib
    dict.__setitem__(matplotlib.rcParams, 'backend', os.environ.get('MPLBACKEND') or matplotlib.rcsetup._auto_backend_sentinel)      # as when it is imported


def program(args):
    "What `python` does with these arguments"
    import runpy
    from types import ModuleType
    kind, *rest = args
    if kind == '-m':
        sys.argv, sys.path[0] = rest, os.getcwd()
        runpy.run_module(rest[0], run_name='__main__', alter_sys=True)
    elif kind == '-c':
        sys.argv, sys.path[0] = ['-c', *rest[1:]], ''
        sys.modules['__main__'] = ModuleType('__main__')
        exec(compile(rest[0], '<string>', 'exec'), vars(sys.modules['__main__']))
    else:
        sys.argv, sys.path[0] = args, os.path.dirname(os.path.abspath(kind))
        runpy.run_path(kind, run_name='__main__')


def ending(args):
    "The exit status of `program(args)`, what goes wrong being told as Python does"
    try: program(args)
    except SystemExit as e:
        if e.code is None or isinstance(e.code, int): return e.code or 0
        print(e.code, file=sys.stderr)
        return 1
    except BaseException as e:
        sys.excepthook(type(e), e, e.__traceback__)
        return -signal.SIGINT if isinstance(e, KeyboardInterrupt) else 1
    return 0


def leave(status):
    "End as Python does, but for what takes long: modules are not taken apart"
    import atexit, threading
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try: stream.flush()
        except (OSError, ValueError): pass
    if status < 0: signal.signal(-status, signal.SIG_DFL); os.kill(os.getpid(), -status)
    os._exit(status & 255)


# ---- the client

def connect():
    "A connection to the server; None where there is none"
    connection = socket.socket(socket.AF_UNIX)
    try: connection.connect(os.path.join(os.environ.get('FORKED', ''), 'socket'))
    except OSError: return None
    return connection


def stand_in(connection, args):
    "Be the process that is forked, as far as others can tell"
    ignored, parent = [n for n in PASSED_ON if signal.getsignal(n) is signal.SIG_IGN], os.getppid()
    for number in PASSED_ON: signal.signal(number, lambda number, _: connection.send(bytes([number])))
    signal.signal(signal.SIGQUIT, lambda *_: connection.send(bytes([signal.SIGKILL])))      # of `kill`
    message = json.dumps(dict(args=args, env=dict(os.environ), cwd=os.getcwd(), ignored=ignored)).encode() + b'\0'
    sent = socket.send_fds(connection, [message], [0, 1, 2])
    connection.sendall(message[sent:])
    while not select.select([connection], [], [], 1)[0]:
        if 'JPY_PARENT_PID' in os.environ and os.getppid() != parent: os._exit(1)      # a kernel ends with who started it
    status = int(connection.recv(16) or 1)
    if status < 0:
        signal.signal(-status, signal.SIG_DFL) if -status != signal.SIGKILL else None
        os.kill(os.getpid(), -status)
    os._exit(status)


# ---- for tests

def folder():
    "What belongs to the server: its socket, its log, Jupyter's `kernels`. The tests' first process is its owner"
    import tempfile
    owner = os.environ.setdefault('FORKED_OWNER', str(os.getpid()))
    return os.environ.setdefault('FORKED', os.path.join(tempfile.gettempdir(), f'forked-{owner}'))


def start_server():
    "See to it that there is a server, one for all processes of these tests; its folder"
    import fcntl, subprocess
    place = folder()
    if place in STARTED: return place
    STARTED.add(place)
    os.makedirs(place, mode=0o700, exist_ok=True)
    with open(f'{place}/lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (there := connect()): there.close(); return place
        if os.path.exists(f'{place}/socket'): os.unlink(f'{place}/socket')
        with open(f'{place}/log', 'ab') as log, socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f'{place}/socket')
            listener.listen(64)
            env = {k: v for k, v in os.environ.items() if k != 'MPLBACKEND'} | dict(OMP_NUM_THREADS='1', TF_USE_LEGACY_KERAS='1')      # TensorFlow without Keras, as chapter 48 loads it
            subprocess.Popen([sys.executable, HERE, '--serve', str(listener.fileno()), os.environ['FORKED_OWNER']], cwd=ROOT, env=env, pass_fds=[listener.fileno()],
                             stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    return place


def command(*args):
    "The command line that does, forked, what `python *args` does"
    start_server()
    return [sys.executable, '-S', HERE, *map(str, args)]


def kill(process):
    "kill -9 what was forked for `process`, a Popen of a `command`; when this returns its exit status, it is gone"
    process.send_signal(signal.SIGQUIT)
    return process.wait()


def jingles(*args, timeout=300):
    "Run the command line; a `CompletedProcess`. TimeoutExpired"
    import subprocess
    return subprocess.run(command('-c', CLI, *args), cwd=ROOT, capture_output=True, text=True, errors='replace', timeout=timeout, stdin=subprocess.DEVNULL)


def kernels():
    "A folder for JUPYTER_PATH: with it the kernel `python3` is forked"
    argv = [*command('-m', 'ipykernel_launcher', '-f'), '{connection_file}']
    place = f'{folder()}/jupyter'
    os.makedirs(f'{place}/kernels/python3', exist_ok=True)
    with open(f'{place}/kernels/python3/kernel.{os.getpid()}', 'w') as f: json.dump(dict(argv=argv, display_name='Python 3', language='python'), f)
    os.replace(f.name, f'{place}/kernels/python3/kernel.json')
    return place


if __name__ == '__main__':
    if sys.argv[1] != '--serve':
        connection = connect()
        if not connection: os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
        stand_in(connection, sys.argv[1:])
    request, fds = serve(socket.socket(fileno=int(sys.argv[2])), int(sys.argv[3]))
    become(request, fds)
    leave(ending(request['args']))
