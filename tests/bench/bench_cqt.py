"""The CQT's inverse against librosa.icqt, its forward transform against nnAudio: 8 rendered clips of 8 s, one process"""
import time


def clips():
    "Eight clips as the databases have them: (8, 192000)"
    import torch
    from jingles.core import rng_for
    from jingles.data.melody import random_melody, modulate_velocity
    from jingles.data.synth import INSTRUMENTS, synth
    render = lambda i: synth().render(modulate_velocity(random_melody(rng_for(i)), rng_for(i)), list(INSTRUMENTS)[i % 3])
    return torch.stack([torch.from_numpy(render(i)) for i in range(8)])


def side_by_side(*calls, rounds=3):
    "Wall-clock seconds of the fastest of some rounds for each of `calls`, taken in turn, after one round that is not counted"
    best = [float('inf')]*len(calls)
    for i in range(rounds + 1):
        for j, call in enumerate(calls):
            began = time.perf_counter(); call(); took = time.perf_counter() - began
            if i: best[j] = min(best[j], took)
    return best


def run():
    import librosa, torch
    from jingles.formats.cqt import CQT, pad_to_hop, nnaudio_cqt, snr, bandpass
    cqt, sound, noise = CQT(), clips(), 0.1*torch.randn(8, 192000)
    began = time.perf_counter(); x = cqt.encode(sound); first = time.perf_counter() - began
    s = cqt.scale
    scale = dict(sr=24000, hop_length=s.hop, fmin=s.f_min, bins_per_octave=s.bins_per_octave)
    y = librosa.cqt(sound.numpy(), n_bins=s.n_bins, **scale)
    quality = lambda estimate, target: snr(bandpass(estimate), bandpass(target))
    ours, theirs = quality(cqt.decode(x), sound), quality(torch.from_numpy(librosa.icqt(y, length=192000, **scale)), sound)
    with torch.inference_mode():
        decode, slow = side_by_side(lambda: cqt.decode(x), lambda: librosa.icqt(y, length=192000, **scale))
        encode, convolution = side_by_side(lambda: cqt.encode(sound), lambda: nnaudio_cqt(s)(pad_to_hop(sound, s.hop)), rounds=2)
    return {'decode [s]': decode, 'librosa.icqt [s]': slow, 'icqt / decode': slow/decode,
            'encode [s]': encode, 'nnAudio [s]': convolution, 'nnAudio / encode': convolution/encode, 'first encode, with tables [s]': first,
            'ours, clips, worst [dB SNR]': ours.min().item(), 'ours, clips, mean [dB SNR]': ours.mean().item(),
            'ours, white noise, worst [dB SNR]': quality(cqt.decode(cqt.encode(noise)), noise).min().item(),
            'librosa, clips, worst [dB SNR]': theirs.min().item(), 'librosa, clips, best [dB SNR]': theirs.max().item(), 'threads': torch.get_num_threads()}
