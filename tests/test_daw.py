"To and from a workstation: MIDI -> jingle -> MIDI, the file that makes itself again, in processes of their own"
import json, subprocess
from pathlib import Path

import numpy as np
import pytest

import forked
from jingles.audio import load
from jingles.core import rng_for
from jingles.data.melody import random_melody
from jingles.files.midi import EXPRESSION, MidiPart, cond_from_midi, part_from_cond, part_from_sound, read_parts, write_parts
from jingles.files.recipe import read_recipe
from jingles.files.wave import read_cues, read_loop


def f_measure(asked, heard):
    "Of notes heard against those asked for: the same pitch, beginning within 50 ms"
    from mir_eval.transcription import precision_recall_f1_overlap
    if not heard: return 0.
    spans, hz = ([[n.start, n.end] for n in asked], [[n.start, n.end] for n in heard]), ([440*2**((n.pitch - 69)/12) for n in p] for p in (asked, heard))
    a, b = hz
    return precision_recall_f1_overlap(np.array(spans[0]), np.array(a), np.array(spans[1]), np.array(b), offset_ratio=None)[2]


def test_midi_to_jingle_to_midi(tmp_path):
    """The shipped model plays tunes from MIDI files, and the notes are heard in what it plays.
    Measured over 4 tunes, 8 s each: piano 1.00, violin 0.91, trumpet 0.97; FluidSynth's own renderings: 1.00, 0.87, 0.98"""
    from jingles.generate import generate
    from jingles.models import load_model
    model, found = load_model('notes'), {}
    for instrument in ('piano', 'violin', 'trumpet'):
        for seed in range(2):
            write_parts(tmp_path/'in.mid', [MidiPart('tune', tuple(random_melody(rng_for('rt', seed), 8)))])
            cond = cond_from_midi(tmp_path/'in.mid', 8, 75, 'notes', instrument, start=0.)
            wav = generate(model, cond, seed=seed)[0]
            write_parts(tmp_path/'out.mid', [part_from_cond(cond), part_from_sound(wav)])
            drawn, heard = read_parts(tmp_path/'out.mid')
            found[instrument, seed] = f_measure(drawn.notes, heard.notes)
    assert np.mean(list(found.values())) > 0.85, found
    assert min(found.values()) > 0.6, found


def test_swell_of_the_pedal_is_heard(tmp_path):
    "CC 11 from 30 to 127 over one long trumpet note: the sound grows, and the MIDI file of what is heard says so"
    from jingles.generate import generate
    from jingles.models import load_model
    from jingles.data.melody import Note
    swell = tuple((i/20, 30 + round(97*i/40)) for i in range(41))
    write_parts(tmp_path/'in.mid', [MidiPart('lead', (Note(0., 2.2, 64, 120),), ((0., 56),), {EXPRESSION: swell})])
    cond = cond_from_midi(tmp_path/'in.mid', 2.5, 75, 'notes', start=0.)
    assert cond['instruments'][0, 2].min() == 1                      # the program is the trumpet's
    heard = part_from_sound(generate(load_model('notes'), cond)[0])
    pedal = dict(heard.controls[EXPRESSION])
    early, late = (np.mean([v for t, v in pedal.items() if a < t < b]) for a, b in ((0.2, 0.7), (1.5, 2.)))
    assert late > 1.3*early, (early, late)


@pytest.fixture
def jingles(tmp_path):
    "A command line in a process of its own; returns what it says"
    def run(*args, code=0):
        done = subprocess.run(forked.command('-c', forked.CLI, *args), cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr
    return run


def test_the_same_sound_in_another_process(jingles, tmp_path):
    "A recipe is enough: another process makes the same file, byte for byte; a changed one says that it is not the same"
    quick = '--steps', 3, '--no-picture'
    jingles('generate', '--seconds', 1, *quick, '--out', 'first.flac')
    jingles('generate', '--seconds', 1, *quick, '--feature', 'pitch=C4', '--velocity', 0.7,
            '--init-audio', 'first.flac', '--inpaint', '0.3:0.7', '--seed', 4, '--variations', 2,
            '--bits', '24', '--rate', 48000, '--guidance', 'velocity=2', '--sampling', 's_churn=10', '--out', 'second.wav')
    for name in ('first.flac', 'second-seed5.wav'):
        assert 'the same sound, bit for bit' in jingles('again', name)
        again = Path(name).with_stem(f'{Path(name).stem}-again')
        assert (tmp_path/name).read_bytes() == (tmp_path/again).read_bytes()
    assert [c.label for c in read_cues(tmp_path/'second-seed5.wav')] == ['C4']
    assert [c.label for c in read_cues(tmp_path/'first.flac')] == ['C4', 'E4']
    recipe = read_recipe(tmp_path/'first.flac')
    (tmp_path/'other.json').write_text(json.dumps(recipe | dict(seed=recipe['seed'] + 1)))
    assert 'not the same' in jingles('again', 'other.json')
    (tmp_path/'first.flac').unlink()
    assert 'began with first.flac, which is not here' in jingles('again', 'second-seed5.wav', '--out', 'c.wav', code=1)


def test_an_instrument_is_played(jingles, tmp_path):
    "The SFZ file of the command line, in sfizz: the right pitch, held beyond the sample"
    import pysfizz
    from jingles.files.instrument import cents_off
    jingles('instrument', '--instrument', 'violin', '--pitches', '62,70', '--velocities', '100', '--seconds', 1.5, '--steps', 6, '--out', 'v.sfz')
    assert sorted(p.name for p in (tmp_path/'v').iterdir()) == ['As4-100.wav', 'D4-100.wav']
    assert any(read_loop(p) for p in (tmp_path/'v').iterdir())
    engine = pysfizz.Synth(24000, 64)
    assert engine.load_sfz_file(str(tmp_path/'v.sfz'), quiet=False)
    for key in (60, 62, 71):
        held = engine.render_note(key, 100, 1., 1.)[0]
        assert abs(cents_off(held, key, np.ones(75))) < 20
    assert len(load(tmp_path/'v'/'D4-100.wav')) > 24000
