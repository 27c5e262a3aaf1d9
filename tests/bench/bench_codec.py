"""The codec against EnCodec's architecture: encode and decode 8 s, side by side (EnCodec with random weights; time only)"""
import sys, time, types


def encodec_model():
    "EnCodec 24 kHz, random weights; torchaudio's native library, which it drags in, is done without when it does not load"
    try: import torchaudio
    except OSError:
        stub = types.ModuleType('torchaudio._extension')
        stub._IS_TORCHAUDIO_EXT_AVAILABLE = False
        stub._check_cuda_version = stub._load_lib = stub.fail_if_no_align = lambda *a, **k: None
        for name in [m for m in sys.modules if m.startswith('torchaudio')]: del sys.modules[name]
        sys.modules['torchaudio._extension'] = stub
    from encodec import EncodecModel
    return EncodecModel.encodec_model_24khz(pretrained=False).eval()


def run():
    import torch
    from jingles.evaluation.tables import real_time_factor
    from jingles.formats.codec import load_codec
    ours, theirs, sound = load_codec(), encodec_model(), 0.1*torch.randn(1, 8*24000)
    with torch.inference_mode():
        fast = real_time_factor(lambda: ours.decode(ours.encode(sound)), 8)
        slow = real_time_factor(lambda: theirs.decoder(theirs.encoder(sound[None])), 8, repeats=3)
        again = real_time_factor(lambda: ours.decode(ours.encode(sound)), 8)
    return {'ours [x real time]': (fast + again)/2, 'EnCodec [x real time]': slow, 'ours / EnCodec': (fast + again)/2/slow}
