"""Making a database: real time per core, two workers against one, beside pretty_midi's fluidsynth() on the same melodies; memory at 1 000 and 10 000 clips"""
import os, resource, shutil, subprocess, sys, tempfile, time
from pathlib import Path

import numpy as np

CLIPS = 160     # of 8 s
MORE = 10       # times as many, to tell the work from what starting takes

FORMATS = 'audio', 'cqt', 'codec', 'codec-codes', 'encodec', 'encodec-codes'

ONE = """
import sys, json, time, resource
from functools import partial
from jingles.formats.encodec import EnCodecCodes, EnCodecLatents, random_encodec
from jingles.system import parse_formats
from jingles.data.clips import MelodySource
from jingles.data.export import ExportSettings, export
out, format, clips, seconds, workers = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
make = dict(encodec=lambda: EnCodecLatents(random_encodec()), **{'encodec-codes': lambda: EnCodecCodes(random_encodec())}).get(format)
formats = {format: make()} if make else parse_formats(format)
export(out + '-', formats=formats, settings=ExportSettings((16, 0), seconds), workers=1)      # loading programs, fonts, weights and tables is not what is measured
began, cpu = time.perf_counter(), time.process_time()
export(out, formats=formats, settings=ExportSettings((clips, 0), seconds), workers=workers)
print(json.dumps(dict(wall=time.perf_counter() - began, cpu=time.process_time() - cpu,
                      mb=max(resource.getrusage(w).ru_maxrss for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))/1024)))
"""


def export(folder, name, clips, seconds, workers, format='audio') -> dict:
    "Wall and processor seconds of an export in a process of its own, and the most memory that one of its processes took"
    import json
    quiet = dict(os.environ, OMP_NUM_THREADS='1', TQDM_DISABLE='1')
    done = subprocess.run([sys.executable, '-c', ONE, str(Path(folder)/name), format, str(clips), str(seconds), str(workers)], capture_output=True, text=True, check=True, env=quiet)
    return json.loads(done.stdout.splitlines()[-1])


def per_clip(folder, workers, name) -> tuple:
    "`(wall seconds a clip, seconds of starting, processor seconds a clip where there is one worker)`: two sizes tell the work from the start"
    small, large = (export(folder, f'{name}{n}', n*CLIPS, 8, workers) for n in (1, MORE))
    for f in Path(folder).glob(f'{name}*'): shutil.rmtree(f)
    each, cpu = ((large[k] - small[k])/((MORE - 1)*CLIPS) for k in ('wall', 'cpu'))
    return each, small['wall'] - CLIPS*each, cpu


def pretty(clips) -> float:
    "Processor seconds that pretty_midi's `fluidsynth()` takes for the same clips, one call each"
    import pretty_midi
    from jingles.data.synth import find_soundfont, midi_program
    font, began = str(find_soundfont()), time.process_time()
    for c in clips:
        midi, part = pretty_midi.PrettyMIDI(), pretty_midi.Instrument(midi_program(c.instrument))
        part.notes = [pretty_midi.Note(n.velocity, n.pitch, n.start, n.end) for n in c.melody]
        midi.instruments.append(part)
        midi.fluidsynth(24000, sf2_path=font)
    return time.process_time() - began


def run():
    from jingles.data.clips import MelodySource
    from jingles.workers import worker_pool
    source = MelodySource()
    with worker_pool(1) as here: source.read(8, here)
    clips = [source.clip(0, 'train', k, 8) for k in range(12)]
    clips[0].sound(8)
    began = time.process_time()
    for c in clips: c.sound(8)
    ours = (time.process_time() - began)/len(clips)
    theirs = pretty(clips)/len(clips)
    with tempfile.TemporaryDirectory() as d:
        # in turn, twice: the machine may be another one a minute later
        found = [(per_clip(d, 1, 'one'), per_clip(d, 2, 'two')) for _ in range(2)]
        each = {f: export(d, f, 32, 8, 1, f)['cpu']/32 for f in FORMATS if f != 'audio'}
        few, many = (export(d, f'many{n}', n, 1, 1)['mb'] for n in (1000, 10_000))
    one, two = (np.mean(rows, 0) for rows in zip(*found))
    each = dict(audio=one[2], **each)
    return {'export of raw sound [x real time, one core]': 8/each['audio'], 'FluidSynth alone [x real time]': 8/ours,
            'two workers / one': one[0]/two[0], 'start of two workers [s]': two[1],
            'ours / pretty_midi, per clip rendered': theirs/ours, 'export / pretty_midi': theirs/each['audio'],
            'memory at 1 000 clips [MB]': few, 'memory at 10 000 clips [MB]': many, **{f'one clip of {f} [s of one core]': s for f, s in each.items()}}
