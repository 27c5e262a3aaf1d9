"Processes that are forked from one which has PyTorch, TensorFlow and the package loaded: what is slow to import is imported once for many of them"
import multiprocessing, os, subprocess, sys, tempfile
from pathlib import Path

from book import ROOT

PRELOAD = ['forked', 'doomed', 'jingles.cli', 'jingles.training', 'jingles.generate', 'accelerate', 'tensorflow', 'torch.distributed']


def processes():
    "A maker of processes that are forked from one which has imported what is slow to import, and done nothing else"
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(PRELOAD)
    return context


def command_line(args, out, err, env):
    "In such a process: be `jingles`, with what it says in the files `out` and `err`"
    os.environ.clear()
    os.environ.update(env)
    for fd, path, how in ((0, os.devnull, os.O_RDONLY), (1, out, os.O_WRONLY | os.O_CREAT), (2, err, os.O_WRONLY | os.O_CREAT)):
        opened = os.open(path, how, 0o600)
        os.dup2(opened, fd)
        os.close(opened)
    sys.stdin, sys.stdout, sys.stderr = open(0, closefd=False), open(1, 'w', closefd=False), open(2, 'w', buffering=1, closefd=False)
    os.chdir(ROOT)
    import torch
    torch.set_num_threads(1)
    sys.argv = ['jingles', *args]
    from jingles.cli import main
    main()


def jingles(*args, timeout=300):
    "Run the command line in such a process; a `CompletedProcess`. TimeoutExpired"
    args = [str(a) for a in args]
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder)/'out', Path(folder)/'err'
        process = processes().Process(target=command_line, args=(args, out, err, dict(os.environ)))
        process.start()
        process.join(timeout)
        if process.is_alive():
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(args, timeout)
        said = [f.read_text(errors='replace') if f.exists() else '' for f in (out, err)]
    return subprocess.CompletedProcess(args, process.exitcode, *said)
