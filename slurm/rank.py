"""One rank of a run: a notebook through papermill, under `srun` or `torchrun`.

    rank.py NOTEBOOK RECORD [NAME=VALUE ...]

Rank 0 writes the executed notebook to RECORD, rank N to log/ beside it with N in the name. A file `stop` beside RECORD asks the run to stop:
it becomes a SIGUSR1 to the kernel of rank 0, once a second until that ends, and training tells the other ranks. Exit status: 0 when the notebook
went through, 75 when it stopped and can be gone on with, 1 when it failed. Of several ranks of a SLURM step none ends with 75, lest SLURM end those that are
a moment behind; there a file `again` beside RECORD says the same.
"""
import ast, json, os, signal, sys, tempfile, threading, time
from pathlib import Path

from jupyter_client.manager import AsyncKernelManager
from papermill.cli import papermill
from papermill.engines import NBClientEngine, papermill_engines
from papermill.exceptions import PapermillExecutionError

STOPPED = 75     # EX_TEMPFAIL: try again


TASKS = int(os.environ.get('SLURM_STEP_NUM_TASKS', 1))
RANK = int(os.environ.get('RANK', os.environ['SLURM_PROCID'] if TASKS > 1 else 0))      # as training sees it (chapter 63)


def of_rank(record, rank:int) -> Path:
    "Where `rank` writes the executed notebook, `record` being that of rank 0"
    record = Path(record)
    path = record if rank == 0 else record.parent/'log'/f'{record.stem}.rank{rank}.ipynb'
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def pass_on(stop:Path, kernel):
    "Tell the process `kernel` when there is a file `stop`"
    while kernel.poll() is None:
        if stop.exists(): kernel.send_signal(signal.SIGUSR1)
        time.sleep(1)


def engine(folder, stop=None):
    "papermill's own, but kernels are reached through sockets in `folder`: ports that are free one moment are another kernel's in the next"
    class Manager(AsyncKernelManager):
        def __init__(self, **kw): super().__init__(**kw | dict(transport='ipc', ip=f'{folder}/kernel'))
        async def start_kernel(self, **kw):
            await super().start_kernel(**kw)
            if stop: threading.Thread(target=pass_on, args=(stop, self.provisioner.process), daemon=True).start()
    class Ranks(NBClientEngine):
        @classmethod
        def execute_managed_notebook(cls, nb_man, kernel_name, **kw): return super().execute_managed_notebook(nb_man, kernel_name, kernel_manager_class=Manager, **kw)
    return Ranks


def numbers(notebook) -> set:
    "The names of the parameters of a notebook that are numbers"
    cell = next((c for c in json.loads(Path(notebook).read_text())['cells'] if 'parameters' in c['metadata'].get('tags', ())), dict(source=''))
    assignments = [node for node in ast.parse(''.join(cell['source'])).body if isinstance(node, ast.Assign)]
    return {node.targets[0].id for node in assignments if not (isinstance(node.value, ast.Constant) and isinstance(node.value.value, str))}


def options(notebook, settings) -> list:
    "papermill's options for `NAME=VALUE`s: what is not to be a number stays as it is written, or a folder 0042 would become 42"
    wrong = [s for s in settings if '=' not in s]
    if wrong: sys.exit(f"rank.py: {wrong[0]!r} is no setting; expected NAME=VALUE, such as preset=smoke")
    known = numbers(notebook)
    return [word for s in settings for word in ('-p' if s.split('=')[0] in known else '-r', *s.split('=', 1))]


def main(notebook, record, *settings) -> int:
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)     # a warning to every process must end neither this one nor a kernel that does not listen yet
    stop, again = Path(record).parent/'stop' if RANK == 0 else None, Path(record).parent/'again'
    record = of_rank(record, RANK)
    with tempfile.TemporaryDirectory(prefix='rank') as folder:
        papermill_engines.register('ranks', engine(folder, stop))
        try: papermill([notebook, str(record), '--engine', 'ranks', '--no-progress-bar', *options(notebook, settings)], standalone_mode=False)
        except PapermillExecutionError as e:
            print(f'rank {RANK}: {e.ename}: {e.evalue}; see {record}', file=sys.stderr)
            if e.ename != 'KeyboardInterrupt': return 1
            if RANK == 0: again.touch()
            return STOPPED if RANK == 0 and TASKS == 1 else 0
        finally:
            if stop: stop.unlink(missing_ok=True)
    return 0


if __name__ == '__main__':
    if len(sys.argv) < 3: sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
