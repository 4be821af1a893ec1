"""Soft-edged shapes on float canvases: splines, polygons, strokes, noise textures."""

import functools

import cv2
import numpy as np

# fillPoly and polylines take integer coordinates with this many fractional bits.
_FRACTION_BITS = 4


@functools.cache
def _spline_basis(samples):
    t = np.linspace(0, 1, samples, endpoint=False)
    return np.stack([-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3,
                     t + 4 * t**2 - 3 * t**3, t**3 - t**2], 1) / 2


def spline(points, samples_per_segment=6, closed=False):
    """Catmull-Rom curve through `points` (n x 2, float): m x 2 float64, the given points included."""
    points = np.asarray(points, np.float64)
    before, after = ((points[-1], points[:2]) if closed else
                     (2 * points[0] - points[1], 2 * points[-1:] - points[-2:-1]))
    padded = np.vstack([before, points, after])
    windows = np.stack([padded[i:len(padded) - 3 + i] for i in range(4)], 1)
    curve = (_spline_basis(samples_per_segment) @ windows).reshape(-1, 2)
    return curve if closed else np.vstack([curve, points[-1:]])


class Canvas:
    """Maps face units (origin between the eyes, x right, y down) to the pixels of an H x W canvas."""

    def __init__(self, unit, x_range, y_range):
        self.unit = unit
        self.origin = np.array([x_range[0], y_range[0]], np.float32)
        self.shape = (int(round((y_range[1] - y_range[0]) * unit)),
                      int(round((x_range[1] - x_range[0]) * unit)))
        self.x = ((np.arange(self.shape[1], dtype=np.float32)) / unit + x_range[0])
        self.y = ((np.arange(self.shape[0], dtype=np.float32)) / unit + y_range[0])

    def _fixed_point(self, points):
        pixels = (np.asarray(points, np.float32) - self.origin) * self.unit
        return np.round(pixels * (1 << _FRACTION_BITS)).astype(np.int32)

    def polygon(self, points, blur=0.0):
        """Mask of a filled polygon, edges softened with a Gaussian of `blur` face units.

        Returns (region, mask): `region` a pair of slices of the canvas, `mask` float32 in [0, 1].
        """
        region, mask, pixels = self._region(points, blur)
        cv2.fillPoly(mask, [pixels], 255, cv2.LINE_AA, _FRACTION_BITS)
        return region, self._soften(mask, blur)

    def stroke(self, points, width, blur=0.0):
        """Mask of an open curve drawn `width` face units wide; as `polygon` otherwise."""
        region, mask, pixels = self._region(points, blur + width)
        cv2.polylines(mask, [pixels], False, 255,
                      max(1, int(round(width * self.unit))), cv2.LINE_AA, _FRACTION_BITS)
        return region, self._soften(mask, blur)

    def creases(self, curves, blur):
        """Depth map (H x W, float32) of skin creases: (points, depth 0..1) pairs, tapering out."""
        depth = np.zeros(self.shape, np.uint8)
        width = max(1, int(round(0.03 * self.unit)))
        for points, strength in curves:
            if strength < 0.03:
                continue
            pixels = self._fixed_point(points)
            taper = np.sin(np.pi * (np.arange(len(pixels) - 1) + 0.7) / (len(pixels) + 0.4))
            for start, end, weight in zip(pixels[:-1], pixels[1:], taper):
                cv2.line(depth, start.tolist(), end.tolist(),
                         int(255 * min(1.0, strength * weight)), width, cv2.LINE_AA,
                         _FRACTION_BITS)
        return self._soften(depth, blur)

    def _region(self, points, margin):
        """The slices of the canvas that hold `points` and a margin, an empty mask of that size,
        and the points in it."""
        fixed = self._fixed_point(points)
        pad = int(3 * margin * self.unit + 3)
        left, top = np.maximum((fixed.min(0) >> _FRACTION_BITS) - pad, 0).tolist()
        right, bottom = ((fixed.max(0) >> _FRACTION_BITS) + pad).tolist()
        right = max(left + 1, min(right, self.shape[1]))
        bottom = max(top + 1, min(bottom, self.shape[0]))
        corner = np.array([left << _FRACTION_BITS, top << _FRACTION_BITS], np.int32)
        return ((slice(top, bottom), slice(left, right)),
                np.zeros((bottom - top, right - left), np.uint8), fixed - corner)

    def _soften(self, mask, blur):
        sigma = blur * self.unit
        if sigma > 0.3:
            mask = cv2.GaussianBlur(mask, (0, 0), sigma)
        return mask * np.float32(1 / 255)


def noise_texture(rng, shape, sigma, stretch=1.0):
    """Smooth noise (H x W, float32, mean 0, standard deviation 1).

    `sigma` in pixels across, `sigma * stretch` pixels down (hair strands run downwards).
    """
    noise = rng.standard_normal(shape, dtype=np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), sigmaX=max(sigma, 0.3),
                             sigmaY=max(sigma * stretch, 0.3))
    return noise / max(float(noise.std()), 1e-6)
