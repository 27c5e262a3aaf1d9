"""The command line as a whole process: wall and processor time of `jingles generate`, of one that hardly samples, and of answers that need no model

Warm: the first round, in which files come from the disk, is left out. Processor time is that of the process and its children, so other work on the machine matters little.
What is beside sampling is what is left with one step for 0.2 s of sound."""
import os, resource, subprocess, sys, tempfile, time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent.parent
CODE = 'import sys; sys.argv[0] = "jingles"; from jingles.cli import main; main()'
COMMANDS = {'generate 8 s': ('generate', '--seconds', '8', '--force', '--out'), 'generate 8 s, no picture': ('generate', '--seconds', '8', '--no-picture', '--force', '--out'),
            'generate 0.2 s in one step, no picture': ('generate', '--seconds', '0.2', '--steps', '1', '--no-picture', '--force', '--out'), 'a mistake': ('generate', '--velocity', 'loud'), '--help': ('--help',), '--version': ('--version',)}
TARGETS = {'generate 0.2 s in one step, no picture, processor [s]': 2.}


def process(args):
    "(wall, processor) s of a process with these arguments of `jingles`"
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, '-c', CODE, *args], cwd=ROOT, capture_output=True)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def imports():
    "Processor time in s of a process that imports what `generate` needs, and of an empty one; of `import jingles` as a ratio, the least of runs by turns"
    def one(code):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, '-c', code], cwd=ROOT, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    light = [min(times) for times in zip(*((one('pass'), one('import jingles')) for _ in range(10)))]
    return {'import jingles / an empty Python': light[1]/light[0]} | {f'{name}, processor [s]': median(one(code) for _ in range(3)) for name, code in
            {'an empty Python': 'pass', 'import torch': 'import torch', 'import jingles.cli': 'import jingles.cli', 'import jingles.generate, jingles.system': 'import jingles.generate, jingles.system'}.items()}


def run(rounds=3):
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, args in COMMANDS.items():
            out = [str(Path(folder)/'a.wav')] if args[-1] == '--out' else []
            taken = [process([*args, *out]) for _ in range(rounds + 1)][1:]
            figures |= {f'{name} [s]': median(t[0] for t in taken), f'{name}, processor [s]': median(t[1] for t in taken)}
    return figures | imports() | {f'target: {name}': at_most for name, at_most in TARGETS.items()} | {'load of the machine': os.getloadavg()[0], 'threads': os.environ.get('OMP_NUM_THREADS', 'all')}
