"""The first numbers of numpy's default generator for many seeds at once.

Every augmented record has a generator of its own. Making one with numpy takes 16 us, a sixth of
all that is done for a record; here it takes 6 us in batches of 250 seeds, with the same numbers.

Sources: numpy's documentation of SeedSequence and PCG64, whose streams it promises not to change;
the seed mixing is M. E. O'Neill's seed_seq replacement (pcg-random.org, "Developing a seed_seq
alternative", 2015), the generator her PCG XSL RR 128/64 (HMC-CS-2014-0905).
"""

import numpy as np

_POOL = 4
_MASK128 = (1 << 128) - 1
_MASK64 = (1 << 64) - 1
_MULTIPLIER = 0x2360ED051FC65DA44385DF649FCCF645


def uniforms(seeds, count):
    """For each row s of `seeds` what np.random.default_rng(s).random(count) gives.

    `seeds`: uint32 N x W, W at least 4. Returns N lists of `count` floats in [0, 1).
    """
    return [_stream(*words, count) for words in _states(seeds).tolist()]


def _stream(state_high, state_low, increment_high, increment_low, count):
    increment = ((increment_high << 64 | increment_low) << 1 | 1) & _MASK128
    state = (increment + (state_high << 64 | state_low)) & _MASK128
    state = (state * _MULTIPLIER + increment) & _MASK128
    numbers = []
    for _ in range(count):
        state = (state * _MULTIPLIER + increment) & _MASK128
        word, turn = (state >> 64 ^ state) & _MASK64, state >> 122
        word = (word >> turn | word << (64 - turn)) & _MASK64
        numbers.append((word >> 11) * 2.0**-53)
    return numbers


def _states(seeds):
    """SeedSequence(s).generate_state(4, np.uint64) of each row s: uint64 N x 4."""
    words = list(np.ascontiguousarray(seeds.T))
    hashed = _hasher(0x43B0D7E5, 0x931E8875)
    pool = [hashed(word) for word in words[:_POOL]]
    for source in range(_POOL):
        for target in range(_POOL):
            if source != target:
                pool[target] = _mixed(pool[target], hashed(pool[source]))
    for word in words[_POOL:]:
        for target in range(_POOL):
            pool[target] = _mixed(pool[target], hashed(word))
    hashed = _hasher(0x8B51F9DD, 0x58F38DED)
    state = np.stack([hashed(pool[n % _POOL]).astype(np.uint64) for n in range(8)], axis=1)
    return state[:, 0::2] | state[:, 1::2] << np.uint64(32)


def _hasher(constant, multiplier):
    """A hash of uint32 arrays whose constant goes on from call to call."""

    def hashed(word):
        nonlocal constant
        word = word ^ np.uint32(constant)
        constant = constant * multiplier & 0xFFFFFFFF
        word *= np.uint32(constant)
        return word ^ word >> np.uint32(16)

    return hashed


def _mixed(x, y):
    word = x * np.uint32(0xCA01F9DD) - y * np.uint32(0x4973F715)
    return word ^ word >> np.uint32(16)
