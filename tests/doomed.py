"A small run of training in a process of its own, which may be told to die or to be stopped: what tests/test_training.py starts"
import json, os, signal, socket, sys
from pathlib import Path

from jingles.system import configure, preset

STEPS = 14


def config(tiny, **changes): return configure(preset('smoke'), **dict(dict(codec=str(tiny/'codec'), steps=STEPS, keep_last=2), **changes))


def run(tiny, out, deadly=-1, stop=-1, env={}, changes={}):
    "Train, with `changes` of the settings; kill this process before step `deadly`, ask the one of rank 1 to stop in step `stop`. What goes wrong is written into `out`"
    os.environ.update(env)
    import torch
    from jingles import training
    from jingles.trainer import loop
    torch.set_num_threads(1)
    plain = loop.optimizer_step
    def doomed(run, *rest):
        if run.step == deadly: os.kill(os.getpid(), signal.SIGKILL)
        if run.step == stop and run.rank.rank == 1: os.kill(os.getpid(), signal.SIGUSR1)
        return plain(run, *rest)
    loop.optimizer_step = doomed
    try: training.train(config(tiny, **changes), tiny/'db', out)
    except (Exception, KeyboardInterrupt) as e:
        Path(out, f"said-{env.get('RANK', 0)}.txt").write_text(f'{type(e).__name__}: {e}')
        raise SystemExit(1)


def together(n):
    "The environments of `n` processes that train together"
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
    return [dict(RANK=str(r), LOCAL_RANK=str(r), WORLD_SIZE=str(n), MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port)) for r in range(n)]


if __name__ == '__main__': run(Path(sys.argv[1]), Path(sys.argv[2]), **json.loads(sys.argv[3]))
