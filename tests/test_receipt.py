"Receipts, loops, voices and bands: with every paradigm, and on the command line"
import json
import re

import numpy as np
import pytest
import soundfile
from symusic import Note, Score, Track

from jingles.audio import load
from jingles.files.wave import read_loop
from jingles.generate import demo_curves
from jingles.loops import generate_loop
from jingles.receipt import best_of, redraw_until
from jingles.system import PARADIGMS
from test_command_line import said      # noqa: F401
from test_faults import rejected        # noqa: F401
from test_variations import untrained

QUICK = 'generate', '--no-picture', '--steps', 2


@pytest.mark.parametrize('paradigm', PARADIGMS)
def test_every_paradigm(paradigm):
    "The best of three is one of them, what is redrawn is never worse, and a loop has the length that was asked for"
    model, cond = untrained(paradigm), demo_curves(1)
    best = best_of(model, cond, 3, seed=5, steps=4)
    assert best.seed - 5 == int(np.argmax(best.scores)) and best.receipt.score == pytest.approx(max(best.scores))
    scores = [b.receipt.score for b in redraw_until(model, cond, best, 1., rounds=2, n=2, steps=4)]
    assert scores == sorted(scores)
    loops = generate_loop(model, cond, 0.9001, steps=4)
    assert loops.shape == (1, 21_602) and np.isfinite(loops).all()


def test_the_best_is_kept_and_said(said, rejected, tmp_path):       # noqa: F811
    out = tmp_path/'best.wav'
    text = said(*QUICK, '--seconds', 1, '--best-of', 3, '--until', 0.99, '--out', out)
    assert re.search(r'best of 3: seed [012], 0\.\d\d to 0\.\d\d', text) and 'follows what was asked' in text
    assert len(load(out)) == 24_000
    assert 'the same sound, bit for bit' in said('again', out)
    assert 'leave --variations' in rejected(*QUICK, '--best-of', 2, '--variations', 2)


def test_the_best_is_made_again(said, tmp_path):                    # noqa: F811
    "The file of the best one names the seed that won, and makes the same sound; its loudness is that of the file, too"
    out, alone = tmp_path/'best.flac', tmp_path/'alone.wav'
    text = said(*QUICK, '--seconds', 1, '--seed', 7, '--best-of', 3, '--loudness', -20, '--out', out)
    won = int(re.search(r'best of 3: seed (\d+)', text)[1])
    assert f'seed        {won}, drawn with seeds 7 to 9' in said('about', out)
    assert 'the same sound, bit for bit' in said('again', out)
    said(*QUICK, '--seconds', 1, '--seed', won, '--loudness', -20, '--out', alone)       # another batch: other last bits
    assert np.abs(load(out) - load(alone)).max() < 1e-3


def test_redrawn_ones_are_made_again(said, tmp_path):               # noqa: F811
    "Three passes follow badly, so something is drawn again; the sound before comes from the recipe inside the recipe"
    out = tmp_path/'redrawn.wav'
    text = said(*QUICK, '--steps', 3, '--seconds', 2, '--seed', 2, '--best-of', 2, '--until', 1, '--out', out)
    assert int(re.search(r'redrawn \d times, (\d) of them better', text)[1]) > 0
    recipe = json.loads(said('about', out, '--json'))
    assert recipe['init']['recipe']['curves'] == recipe['curves'] and recipe['seed'] >= 6
    assert 'the same sound, bit for bit' in said('again', out)


def test_a_loop_has_its_length(said, rejected, tmp_path):           # noqa: F811
    said(*QUICK, '--loop', '--seconds', 1.2345, '--out', tmp_path/'loop.wav')
    assert soundfile.info(tmp_path/'loop.wav').frames == round(1.2345*24_000)
    assert read_loop(tmp_path/'loop.wav')[:2] == (0, 29_628)
    assert 'loop        1.2345 s, seamless' in said('about', tmp_path/'loop.wav')
    assert 'the same sound, bit for bit' in said('again', tmp_path/'loop.wav')
    assert read_loop(tmp_path/'loop-again.wav')[:2] == (0, 29_628)
    assert 'leave --init-audio out' in rejected(*QUICK, '--loop', '--init-audio', tmp_path/'loop.wav')


def test_voices_of_a_midi_file(said, rejected, tmp_path):           # noqa: F811
    score, track = Score(480), Track()
    for start, pitch in ((0, 72), (0, 64), (480, 74), (480, 60)): track.notes.append(Note(start, 480, pitch, 90))
    score.tracks.append(track)
    (tmp_path/'chords.mid').write_bytes(score.dumps_midi())
    said(*QUICK, '--midi', tmp_path/'chords.mid', '--voices', 2, '--instrument', 'violin,piano', '--seconds', 1, '--out', tmp_path/'v.wav')
    mix, *stems = (load(tmp_path/f'v-{name}.wav') for name in ('mix', 'voice1', 'voice2'))
    assert np.abs(sum(stems) - mix).max() < 1e-3 and np.abs(mix).max() < 0.9          # three files in 16 bits
    for name, what in (('mix', 'the mix of 2'), ('voice2', 'the 2. of 2')):
        assert f'voices      {what}' in said('about', tmp_path/f'v-{name}.wav')
        assert 'the same sound, bit for bit' in said('again', tmp_path/f'v-{name}.wav')
    assert '1.0 s of sound in' in said(*QUICK, '--midi', tmp_path/'chords.mid', '--voices', 2, '--seconds', 1, '--out', tmp_path/'again.wav'), 'the mix, not the sum of all files'
    assert 'name it' in rejected(*QUICK, '--voices', 2)


def test_bands(said, rejected, tmp_path):                           # noqa: F811
    wide, plain = tmp_path/'wide.wav', tmp_path/'plain.wav'
    text = said(*QUICK, '--seconds', 1, '--tolerance', 'velocity=0.5', '--best-of', 1, '--out', wide)
    assert 'velocity 100%' in text
    assert 'bands       velocity' in said('about', wide)
    assert 'the same sound, bit for bit' in said('again', wide)
    said(*QUICK, '--seconds', 1, '--out', plain)
    assert (load(wide) != load(plain)).any()
    assert 'tolerance names loudness, but this model follows' in rejected(*QUICK, '--tolerance', 'loudness=0.1')
    assert 'expected NAME=VALUE' in rejected(*QUICK, '--tolerance', '0.1')
    assert '--tolerance: velocity holds 2' in rejected(*QUICK, '--tolerance', 'velocity=2')
