"""Curves from sound: all five beside librosa.pyin and librosa.yin, which give a pitch only; clips of 8 s, one core"""


def pitches(wav, tracker, **options):
    import numpy as np
    return tracker(np.pad(wav, (0, 2048)), fmin=33, fmax=4186, sr=24000, frame_length=2048, hop_length=320, **options)


def run():
    import librosa, torch
    from jingles.control.descriptors import descriptors, track_pitch
    from jingles.core import rng_for
    from jingles.data.melody import random_melody
    from jingles.data.synth import synth
    from jingles.evaluation.adherence import track_pitch_pyin as tuned
    from jingles.evaluation.tables import real_time_factor
    torch.set_num_threads(1)
    wav = synth().render(random_melody(rng_for('descriptors', 0)), 'violin')
    calls = {'all five at 75 Hz': lambda: descriptors(wav), 'all five at 240 Hz': lambda: descriptors(wav, 240), 'pitch at 75 Hz': lambda: track_pitch(wav, 600, 75),
             'librosa.yin': lambda: pitches(wav, librosa.yin), 'librosa.pyin, for C3..C5 as in 72': lambda: tuned(wav)}
    found = {f'{name} [x real time]': real_time_factor(call, 8, repeats=3) for name, call in calls.items()}
    found['librosa.pyin [x real time]'] = real_time_factor(lambda: pitches(wav[:48000], librosa.pyin), 2, repeats=1)
    found['all five / librosa.pyin'] = found['all five at 75 Hz [x real time]']/found['librosa.pyin [x real time]']
    return found
