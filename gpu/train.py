"""Train the models that are shipped, from nothing, in 8 minutes on one GPU and 16 processor cores: python gpu/train.py OUT --midi MIDI

Stages are commands of `jingles`. Each starts when those that it needs have ended, so that rendering on the processor, several trainings on the GPU and the
learning of codebooks run side by side. A training is first given a few steps; their speed, with all that runs beside, says how many fit into its time, and the
same command goes on to that number; one that gets slower is stopped, and what it has learned is kept. A stage that fails stops those that need it, no others.
OUT/logs has what each stage said, OUT/times.json when it ran; OUT/weights is laid out as jingles/weights, OUT/parcel has it and all logs in six files.
The same command goes on with a run that was stopped. README.md beside this file has the sizes, where they come from, and how to run it without the internet."""
import argparse, json, os, shutil, subprocess, sys, time, zipfile
from concurrent.futures import ThreadPoolExecutor, wait, FIRST_COMPLETED
from pathlib import Path
from typing import NamedTuple

PROGRAMS = (0,)*6 + (40,)*6 + (56,)*6 + (6, 11, 12, 16, 19, 24, 42, 45, 46, 48, 52, 60, 65, 68, 71, 73, 75)     # as `make weights`: half are the three of the model


class Sizes(NamedTuple):
    "What is made and for how long; the defaults are for 8 minutes of one H200 and 16 cores"
    minutes: float = 8.
    workers: int = 16
    audio: tuple = (2400, 60)      # clips to train and to test with, of 8 s: raw sound for the codecs
    notes: tuple = (16_000, 200)   # latents with curves from notes
    sound: tuple = (12_000, 200)   # latents with curves measured on the sound of 20 instruments
    codes: tuple = (3000, 100)     # latents of the waveform codec, for its codebooks
    seconds: float = 8.            # of a clip
    count: int = 200               # clips that a model is measured on
    first: int = 60                # steps of a training before its speed is taken
    settings: tuple = ('batch=96', 'streams=1', 'save_every=1000')     # of the models; steps are short on a GPU, so that four times the batch costs little
    programs: tuple = PROGRAMS


class Stage(NamedTuple):
    name: str
    needs: tuple                   # stages that must have ended
    command: list                  # arguments of `jingles`; for a training without its steps
    log: str = ''                  # folder of a training's log
    until: float = 0.              # share of all the time at which a training ends
    optional: bool = False         # it is left out where the time is over: figures, not weights
    steps: str = '--steps {}'      # how a training is told its steps


def stages(out, midi, s:Sizes) -> list:
    "What is done, in an order in which each stage has what it needs"
    data, runs = Path(out)/'data', Path(out)/'runs'
    tunes = ['--midi', midi] if midi else []
    def export(name, clips, *more):
        return ['export', data/name, *tunes, '--train', clips[0], '--valid', clips[1], '--seconds', s.seconds, '--workers', s.workers, *more]
    played = ['--playing', 'expressive', '--invented', 0.35]
    every, each = (['--programs', ','.join(map(str, p))] for p in (s.programs, sorted(set(s.programs))))
    model = [word for setting in s.settings for word in ('--set', setting)]
    def train(name, database=None, *more): return ['train', '--data', data/(database or name), '--out', runs/name, '--preset', name, '--set', f'codec={runs/"spectral"}', *model, *more]
    def evaluate(name, *more): return ['evaluate', '--model', runs/name, '--codec', runs/'decoder', '--count', s.count, '--workers', s.workers, '--force',
                                       '--out', runs/name/'metrics.json', *more]
    return [
        Stage('export-audio', (), export('audio', s.audio, '--format', 'audio', '--seed', 1)),
        Stage('export-gm', (), export('gm', s.audio, '--format', 'audio', *played, *every, '--seed', 1)),
        Stage('spectral', ('export-audio',), ['train-codec', '--data', data/'audio', '--format', 'spectral', '--lr', 1.5e-3, '--out', runs/'spectral'], 'spectral', 0.25),
        Stage('codec', ('export-audio',), ['train-codec', '--data', data/'audio', '--out', runs/'codec'], 'codec', 0.25),
        Stage('export-notes', ('spectral',), export('notes', s.notes, '--format', f'spectral={runs/"spectral"}', *played, '--seed', 3)),
        Stage('export-sound', ('spectral',), export('sound', s.sound, '--format', f'spectral={runs/"spectral"}', *played, *each, '--seed', 4)),
        Stage('export-codes', ('codec',), export('codes', s.codes, '--format', f'codec={runs/"codec"}', '--seed', 2)),
        Stage('notes', ('export-notes',), train('notes'), 'notes', 0.72, steps='--set steps={}'),
        Stage('sound', ('export-sound',), train('sound'), 'sound', 0.86, steps='--set steps={}'),
        Stage('decoder', ('spectral', 'export-gm'), ['train-codec', '--data', data/'gm', '--format', 'spectral', '--tune-decoder', runs/'spectral', '--lr', 4e-4,
                                                     '--out', runs/'decoder'], 'decoder', 0.7),
        Stage('codes', ('export-codes',), ['train-codes', '--data', data/'codes', '--codec', runs/'codec', '--out', runs/'codec']),
        Stage('spectral-codes', ('export-notes',), ['train-codes', '--data', data/'notes', '--codec', runs/'spectral', '--out', runs/'spectral-codes']),
        Stage('notes-few', ('notes',), train('notes-few', 'notes', '--set', f'start_from={runs/"notes"}'), 'notes-few', 0.86, steps='--set steps={}'),
        Stage('evaluate-notes', ('notes', 'decoder'), evaluate('notes', *tunes), optional=True),
        Stage('evaluate-notes-few', ('notes-few', 'decoder'), evaluate('notes-few', *tunes), optional=True),
        Stage('evaluate-sound', ('sound', 'decoder'), evaluate('sound', '--data', data/'sound'), optional=True)]


def last_speed(folder) -> float:
    "Steps per second of the last line of a training's log"
    return json.loads((Path(folder)/'log.jsonl').read_text().splitlines()[-1])['steps_per_second']


def last_step(folder) -> int:
    log = Path(folder)/'log.jsonl'
    rows = log.read_text().splitlines() if log.exists() else []
    return json.loads(rows[-1])['step'] if rows else 0


STOPPED = 130      # how `jingles` ends when a signal stopped it


def jingles(arguments, log, seconds=None):
    "Run the command line in a process of its own, for `seconds` at most; what it says is added to the file `log`. True if it was stopped. RuntimeError"
    code = 'import sys; sys.argv[0] = "jingles"; from jingles.cli import main; main()'
    with open(log, 'a') as said:
        process = subprocess.Popen([sys.executable, '-c', code, *map(str, arguments)], stdout=said, stderr=subprocess.STDOUT)
        try: process.wait(seconds)
        except subprocess.TimeoutExpired: process.terminate()          # a training saves then, and ends
        status = process.wait()
    stopped = status in (STOPPED, -15)
    if status and not (stopped and seconds is not None):
        raise RuntimeError(f'`jingles {arguments[0]}` ended with {status}; {log} ends in: {log.read_text().strip().splitlines()[-1]}')
    return stopped


def train(stage, out, s:Sizes, start, call, clock):
    "A training: a few steps, and then as many as fit into its time; how many in all"
    folder, log = Path(out)/'runs'/stage.log, Path(out)/'logs'/f'{stage.name}.txt'
    began = clock()
    def left(share=0.): return (stage.until + share)*60*s.minutes - (clock() - start)
    def go(steps, *limit): call([*stage.command, *stage.steps.format(steps).split()], log, *limit)
    if last_step(folder) < s.first: go(s.first)
    speed = last_speed(folder)
    overhead = max(0., clock() - began - s.first/speed)                  # imports, the first kernels; once more when it goes on
    steps = max(s.first, int(s.first + (left() - overhead)*speed), last_step(folder))
    if steps > s.first: go(steps, max(1., left(0.04)))                   # a twenty-fifth of all the time over is too much
    return last_step(folder)


def work(stage, out, s:Sizes, start, call, clock) -> dict:
    "Do a stage; its line of times.json"
    began, said = clock() - start, Path(out)/'logs'/f'{stage.name}.txt'
    print(f'{began:6.0f} s  {stage.name} starts', flush=True)
    more = {}
    if stage.log: more = dict(steps=train(stage, out, s, start, call, clock))
    elif call(stage.command, said, *([max(1., 64*s.minutes - began)] if stage.optional else [])): more = dict(stopped=True)
    print(f'{clock() - start:6.0f} s  {stage.name} ends', *(f'{k}={v}' for k, v in more.items()), flush=True)
    return dict(start=round(began, 1), end=round(clock() - start, 1)) | more


def run(out, midi=None, sizes=Sizes(), call=jingles, together=10, clock=time.monotonic) -> dict:
    """All stages, as many at once as `together`; `{stage: {start, end, steps}}` in s, written to OUT/times.json. What came out is collected even if a stage failed;
    then its error is raised"""
    out, start, times, todo, running, failed = Path(out), clock(), {}, stages(out, midi, sizes), {}, {}
    (out/'logs').mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(together) as threads:
        while todo or running:
            ready = [s for s in todo if set(s.needs) <= times.keys()][:together - len(running)]
            for stage in ready: running[threads.submit(work, stage, out, sizes, start, call, clock)] = stage; todo.remove(stage)
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                stage = running.pop(done)
                if not done.exception(): times[stage.name] = done.result()
                else:
                    failed[stage.name] = done.exception()
                    print(f'{clock() - start:6.0f} s  {stage.name} failed: {done.exception()}', file=sys.stderr, flush=True)
            lost = {*failed}
            for s in todo: lost |= {s.name} if lost & {*s.needs} else set()
            todo = [s for s in todo if s.name not in lost]
    (out/'times.json').write_text(json.dumps(times, indent=1))
    collect(out)
    if failed: raise next(iter(failed.values()))
    return times


MODEL = 'model.safetensors config.json data.json metrics.json metrics.md'
CODES = 'quantizer.safetensors quantizer.json'
# folder of jingles/weights -> {folder of runs: files}
FILES = dict(codec=dict(codec=f'model.safetensors config.json {CODES}'), spectral={'decoder': 'model.safetensors config.json', 'spectral-codes': CODES}) | {
    name: {name: MODEL} for name in ('notes', 'notes-few', 'sound')}
LARGEST = 16e6      # bytes of a file


def collect(out):
    """OUT/weights, laid out as jingles/weights: models take the spectral codec that stands beside them; and OUT/parcel, one .zip of each folder and one of logs.
    What is not there is left out. ValueError for a file that is too large"""
    out, parcel = Path(out), Path(out)/'parcel'
    for name, sources in FILES.items():
        found = [out/'runs'/run/file for run, files in sources.items() for file in files.split() if (out/'runs'/run/file).exists()]
        folder = out/'weights'/name
        if found: folder.mkdir(parents=True, exist_ok=True)
        for file in found: shutil.copy(file, folder)
        if (folder/'data.json').exists():                      # a model
            cfg = json.loads((folder/'config.json').read_text())
            (folder/'config.json').write_text(json.dumps(cfg | dict(codec='', start_from=cfg['start_from'] and Path(cfg['start_from']).name), indent=1))
    parcel.mkdir(exist_ok=True)
    for folder in sorted((out/'weights').glob('*')): pack(parcel/f'{folder.name}.zip', sorted(folder.iterdir()), out/'weights')
    pack(parcel/'logs.zip', [out/'times.json', *sorted(out.glob('logs/*')), *sorted(out.glob('runs/*/log.jsonl'))], out)
    large = [f for f in (*out.glob('weights/*/*'), *parcel.iterdir()) if f.stat().st_size >= LARGEST]
    if large: raise ValueError(f'{large[0]} has {large[0].stat().st_size/1e6:.0f} MB; shipped weights stay below 16 MB: train a smaller model')


def pack(target, files, below):
    "A .zip of `files`, named from the folder `below` on"
    with zipfile.ZipFile(target, 'w', zipfile.ZIP_DEFLATED) as z:
        for f in files: z.write(f, f.relative_to(below))


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument('out', type=Path, help='folder for databases, runs, logs, weights and parcel')
    args.add_argument('--midi', type=Path, help='folder or .tar.gz of MIDI files; without, melodies are invented')
    args.add_argument('--minutes', type=float, default=Sizes().minutes)
    args.add_argument('--workers', type=int, default=os.cpu_count())
    args.add_argument('--programs', default=','.join(map(str, PROGRAMS)), help='General MIDI programs of the codec and of the sound model')
    args = args.parse_args()
    sizes = Sizes(minutes=args.minutes, workers=args.workers, programs=tuple(int(p) for p in args.programs.split(',')))
    try: run(args.out, args.midi, sizes)
    except (RuntimeError, ValueError, OSError) as e: sys.exit(f'gpu/train.py: {e}')


if __name__ == '__main__': main()
