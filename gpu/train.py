"""Train the models that are shipped, from nothing, in 8 minutes on one GPU and 16 processor cores: python gpu/train.py OUT --midi MIDI

Stages are commands of `jingles`. Each starts when those that it needs have ended, so that rendering on the processor, several trainings on the GPU and the
learning of codebooks run side by side. A training is first given a few steps; their speed, with all that runs beside, says how many fit into its time, and the
same command goes on to that number. OUT/logs has what each stage said, OUT/times.json when it ran; OUT/weights is laid out as jingles/weights.
The same command goes on with a run that was stopped. README.md beside this file has the sizes, where they come from, and how to run it without the internet."""
import argparse, json, os, shutil, subprocess, sys, time
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
    steps: str = '--steps {}'      # how a training is told its steps


def stages(out, midi, s:Sizes) -> list:
    "What is done, in an order in which each stage has what it needs"
    data, runs = Path(out)/'data', Path(out)/'runs'
    tunes = ['--midi', midi] if midi else []
    def export(name, clips, *more):
        return ['export', data/name, *tunes, '--train', clips[0], '--valid', clips[1], '--seconds', s.seconds, '--workers', s.workers, *more]
    played = ['--playing', 'expressive', '--invented', 0.35]
    every = ['--programs', ','.join(map(str, s.programs))]
    model = [word for setting in s.settings for word in ('--set', setting)]
    def train(name, *more): return ['train', '--data', data/name, '--out', runs/name, '--preset', 'notes', '--set', f'codec={runs/"spectral"}', *model, *more]
    def evaluate(name, *more): return ['evaluate', '--model', runs/name, '--codec', runs/'decoder', '--count', s.count, '--workers', s.workers, '--force',
                                       '--out', runs/name/'metrics.json', *more]
    return [
        Stage('export-audio', (), export('audio', s.audio, '--format', 'audio', '--seed', 1)),
        Stage('export-gm', (), export('gm', s.audio, '--format', 'audio', *played, *every, '--seed', 1)),
        Stage('spectral', ('export-audio',), ['train-codec', '--data', data/'audio', '--format', 'spectral', '--lr', 1.5e-3, '--out', runs/'spectral'], 'spectral', 0.25),
        Stage('codec', ('export-audio',), ['train-codec', '--data', data/'audio', '--out', runs/'codec'], 'codec', 0.25),
        Stage('export-notes', ('spectral',), export('notes', s.notes, '--format', f'spectral={runs/"spectral"}', *played, '--seed', 3)),
        Stage('export-sound', ('spectral',), export('sound', s.sound, '--format', f'spectral={runs/"spectral"}', *played, *every, '--seed', 4)),
        Stage('export-codes', ('codec',), export('codes', s.codes, '--format', f'codec={runs/"codec"}', '--seed', 2)),
        Stage('notes', ('export-notes',), train('notes'), 'notes', 0.88, '--set steps={}'),
        Stage('sound', ('export-sound',), train('sound', '--set', 'features=descriptors', '--set', 'global_features=none'), 'sound', 0.88, '--set steps={}'),
        Stage('decoder', ('spectral', 'export-gm'), ['train-codec', '--data', data/'gm', '--format', 'spectral', '--tune-decoder', runs/'spectral', '--lr', 4e-4,
                                                     '--out', runs/'decoder'], 'decoder', 0.8),
        Stage('codes', ('export-codes',), ['train-codes', '--data', data/'codes', '--codec', runs/'codec', '--out', runs/'codec']),
        Stage('evaluate-notes', ('notes', 'decoder'), evaluate('notes', *tunes)),
        Stage('evaluate-sound', ('sound', 'decoder'), evaluate('sound', '--data', data/'sound'))]


def last_speed(folder) -> float:
    "Steps per second of the last line of a training's log"
    return json.loads((Path(folder)/'log.jsonl').read_text().splitlines()[-1])['steps_per_second']


def last_step(folder) -> int:
    log = Path(folder)/'log.jsonl'
    rows = log.read_text().splitlines() if log.exists() else []
    return json.loads(rows[-1])['step'] if rows else 0


def jingles(arguments, log):
    "Run the command line in a process of its own; what it says is added to the file `log`. RuntimeError"
    code = 'import sys; sys.argv[0] = "jingles"; from jingles.cli import main; main()'
    with open(log, 'a') as said:
        done = subprocess.run([sys.executable, '-c', code, *map(str, arguments)], stdout=said, stderr=subprocess.STDOUT)
    if done.returncode: raise RuntimeError(f'`jingles {arguments[0]}` ended with {done.returncode}; {log} ends in: {log.read_text().strip().splitlines()[-1]}')


def train(stage, out, s:Sizes, start, call, clock):
    "A training: a few steps, and then as many as fit into its time; how many in all"
    folder, log = Path(out)/'runs'/stage.log, Path(out)/'logs'/f'{stage.name}.txt'
    began = clock()
    def go(steps): call([*stage.command, *stage.steps.format(steps).split()], log)
    if last_step(folder) < s.first: go(s.first)
    speed = last_speed(folder)
    overhead = max(0., clock() - began - s.first/speed)                  # imports, the first kernels; once more when it goes on
    left = stage.until*60*s.minutes - (clock() - start) - overhead
    steps = max(s.first, int(s.first + left*speed), last_step(folder))
    if steps > s.first: go(steps)
    return steps


def run(out, midi=None, sizes=Sizes(), call=jingles, together=8, clock=time.monotonic) -> dict:
    "All stages, as many at once as `together`; `{stage: {start, end, steps}}` in s, written to OUT/times.json. The first error ends it"
    out, start, times, todo, running = Path(out), clock(), {}, stages(out, midi, sizes), {}
    (out/'logs').mkdir(parents=True, exist_ok=True)
    def work(stage):
        began = clock() - start
        print(f'{began:6.0f} s  {stage.name} starts', flush=True)
        steps = train(stage, out, sizes, start, call, clock) if stage.log else call(stage.command, out/'logs'/f'{stage.name}.txt')
        times[stage.name] = dict(start=round(began, 1), end=round(clock() - start, 1)) | (dict(steps=steps) if stage.log else {})
        print(f'{clock() - start:6.0f} s  {stage.name} ends' + (f', {steps} steps' if stage.log else ''), flush=True)
    with ThreadPoolExecutor(together) as threads:
        while todo or running:
            ready = [s for s in todo if set(s.needs) <= times.keys()][:together - len(running)]
            for stage in ready: running[threads.submit(work, stage)] = stage; todo.remove(stage)
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                del running[done]
                if done.exception(): todo.clear(); print(f'gpu/train.py: waiting for what still runs', file=sys.stderr)
                done.result()
    (out/'times.json').write_text(json.dumps(times, indent=1))
    collect(out)
    return times


FILES = dict(codec=('codec', 'model.safetensors config.json quantizer.safetensors quantizer.json'), spectral=('decoder', 'model.safetensors config.json'),
             notes=('notes', 'model.safetensors config.json data.json metrics.json metrics.md'), sound=('sound', 'model.safetensors config.json data.json metrics.json metrics.md'))


def collect(out):
    "OUT/weights, laid out as jingles/weights: models take the spectral codec that stands beside them. ValueError for a file of 16 MB or more"
    for name, (run, files) in FILES.items():
        folder = Path(out)/'weights'/name
        folder.mkdir(parents=True, exist_ok=True)
        for file in files.split(): shutil.copy(Path(out)/'runs'/run/file, folder/file)
        if name in ('notes', 'sound'):
            cfg = json.loads((folder/'config.json').read_text())
            (folder/'config.json').write_text(json.dumps(cfg | dict(codec=''), indent=1))
        large = [f for f in folder.iterdir() if f.stat().st_size >= 16e6]
        if large: raise ValueError(f'{large[0]} has {large[0].stat().st_size/1e6:.0f} MB; shipped weights stay below 16 MB: train a smaller model')


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument('out', type=Path, help='folder for databases, runs, logs and weights')
    args.add_argument('--midi', type=Path, help='folder or .tar.gz of MIDI files; without, melodies are invented')
    args.add_argument('--minutes', type=float, default=Sizes().minutes)
    args.add_argument('--workers', type=int, default=os.cpu_count())
    args.add_argument('--programs', default=','.join(map(str, PROGRAMS)), help='General MIDI programs of the codec and of the sound model')
    args = args.parse_args()
    sizes = Sizes(minutes=args.minutes, workers=args.workers, programs=tuple(int(p) for p in args.programs.split(',')))
    try: run(args.out, args.midi, sizes)
    except (RuntimeError, ValueError, OSError) as e: sys.exit(f'gpu/train.py: {e}')


if __name__ == '__main__': main()
