"""The codec against EnCodec's architecture: encode and decode 8 s, side by side (EnCodec with random weights; time only)"""


def run():
    import torch
    from jingles.evaluation.tables import real_time_factor
    from jingles.formats.codec import load_codec
    from jingles.formats.encodec import EnCodecLatents, random_encodec
    ours, theirs, sound = load_codec(), EnCodecLatents(random_encodec()), 0.1*torch.randn(1, 8*24000)
    with torch.inference_mode():
        fast = real_time_factor(lambda: ours.decode(ours.encode(sound)), 8)
        slow = real_time_factor(lambda: theirs.decode(theirs.encode(sound)), 8, repeats=3)
        again = real_time_factor(lambda: ours.decode(ours.encode(sound)), 8)
    return {'ours [x real time]': (fast + again)/2, 'EnCodec [x real time]': slow, 'ours / EnCodec': (fast + again)/2/slow}
