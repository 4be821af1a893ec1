"""Renders a subject's face with given action units as a photograph-like image.

A face is drawn frontally: its colours (skin, brows, eyes, lips, hair) as soft-edged shapes on one
canvas, its relief (a sum of Gaussians, minus the creases) on another. The relief's normals light
the colours; the lit canvas is then turned by the head's pose into the image, over a background.
"""

import copy
from dataclasses import dataclass

import cv2
import numpy as np

from data_prep.synthetic.anatomy import (
    LEFT,
    RIGHT,
    body_outlines,
    ear_outline,
    face_shape,
    five_points,
    glasses_curves,
    hair_outlines,
    landmarks_68,
)
from data_prep.synthetic.drawing import Canvas, noise_texture, spline

_LUMINANCE = np.array([0.114, 0.587, 0.299], np.float32)
_MAP_STEP = 4
_CIRCLE = np.stack([np.cos(np.arange(0, 6.2, 0.7)), np.sin(np.arange(0, 6.2, 0.7))], 1)
_NOSTRILS = [
    spline(
        np.array([[-0.07, 0.01], [0, -0.03], [0.07, -0.005], [0.02, 0.03]]) * [sign, 1],
        3,
        closed=True,
    )
    for sign in (-1, 1)
]


@dataclass
class Rendering:
    """image: uint8, H x W gray or H x W x 3 BGR. five_points: 5 x 2, landmarks: 68 x 2, pixels."""

    image: np.ndarray
    five_points: np.ndarray
    landmarks: np.ndarray


class FaceRenderer:
    """One subject in one setting; `render` gives the frames.

    size: (width, height) in pixels; the eyes are about 0.2 heights apart. Pictures being drawn
    are float32 of shape C x H x W, C = 3 (BGR) or 1 (luminance), 0..1.
    """

    def __init__(self, identity, setting, size=(320, 240), colour=False):
        self.identity, self.setting = identity, setting
        self.width, self.height = size
        self.channels = 3 if colour else 1
        self.image_unit = 0.215 * self.height
        # A tenth coarser than the image: a face is soft at that scale, and drawing is faster.
        self.unit = 0.9 * self.image_unit
        self.canvas = Canvas(self.unit, (-1.65, 1.65), (-2.1, 2.62))
        self._prepare_skin()
        self._prepare_hair()
        self._prepare_glasses()
        self._prepare_setting()

    def in_setting(self, setting):
        """The renderer of the same subject in another setting; skin and hair are shared."""
        other = copy.copy(self)
        other.setting = setting
        other._prepare_setting()
        return other

    def render(self, intensities, rng):
        """The Rendering of action units {AU: (left, right)}; `rng` moves the head a little."""
        # A sequence rests at neutral before the onset and at the apex after it.
        if intensities != self.drawn_intensities:
            shape = face_shape(self.identity, intensities)
            self.drawn = *self._draw(shape), landmarks_68(shape)
            self.drawn_intensities = intensities
        layers, region, points = self.drawn
        jitter = self._jitter(rng)
        image = self._photograph(layers, region, jitter, rng)
        landmarks = self._project(points, jitter)
        return Rendering(image, five_points(landmarks), landmarks)

    # What does not change within a sequence.

    def _prepare_setting(self):
        self._prepare_light()
        self._prepare_pose()
        self._prepare_background()
        self._prepare_eyes()
        self.drawn_intensities = None

    def _colour(self, bgr):
        """C x 1 x 1 of a BGR triple in 0..1."""
        bgr = np.asarray(bgr, np.float32)
        if self.channels == 1:
            bgr = np.array([bgr @ _LUMINANCE])
        return bgr[:, None, None]

    def _prepare_skin(self):
        identity, canvas, unit = self.identity, self.canvas, self.unit
        rng = np.random.default_rng(identity.texture_seed)
        self.skin_colour = self._colour(identity.skin_colour)
        self.hair_colour = self._colour(identity.hair_colour)
        mottling = identity.blemishes * (
            0.7 * noise_texture(rng, canvas.shape, 0.13 * unit)
            + 0.5 * noise_texture(rng, canvas.shape, 0.05 * unit)
        ) + 0.012 * noise_texture(rng, canvas.shape, 0.02 * unit)
        skin = self.skin_colour * (1 + mottling)
        x, y = canvas.x[None, :], canvas.y[:, None]
        flush = 0.5 * (
            np.exp(-(((np.abs(x) - 0.66) / 0.3) ** 2) - ((y - 0.6) / 0.28) ** 2)
            + np.exp(-((x / 0.2) ** 2) - ((y - 0.68) / 0.2) ** 2)
        )
        skin *= 1 - flush * (1 - self._colour((0.82, 0.84, 1.0)))
        sockets = np.exp(-(((np.abs(x) - 0.48) / 0.27) ** 2) - ((y - 0.06) / 0.16) ** 2)
        skin *= 1 - (0.06 + 0.12 * identity.eye_depth) * sockets
        if identity.freckles:
            spots = np.clip(noise_texture(rng, canvas.shape, 0.016 * unit) - 1.3, 0, 1)
            spots *= np.exp(-((x / 0.85) ** 2) - ((y - 0.45) / 0.35) ** 2)
            skin *= 1 - 0.4 * identity.freckles * spots
        self.skin = skin.astype(np.float32)
        for _ in range(int(rng.integers(0, 3))):
            mole = np.array([rng.uniform(-0.9, 0.9), rng.uniform(-0.9, 1.6)])
            self._blend(
                self.skin, canvas.polygon(mole + 0.02 * _CIRCLE, blur=0.01), 0.5 * self.skin_colour
            )
        self.grain = np.clip(0.8 + 0.25 * noise_texture(rng, canvas.shape, 0.014 * unit), 0, 1)
        # One field a subject; each frame takes another part of it.
        self.film_grain = rng.standard_normal(
            (self.channels, self.height + 64, self.width + 64), dtype=np.float32
        )
        self.pores = 0.0012 * noise_texture(rng, canvas.shape, 0.014 * unit)

    def _prepare_hair(self):
        """The hair before and behind the head, and the canvas before the face is drawn on it."""
        identity, canvas, unit = self.identity, self.canvas, self.unit
        rng = np.random.default_rng(identity.texture_seed + 1)
        strands = 0.11 * noise_texture(
            rng, canvas.shape, 0.015 * unit, stretch=7
        ) + 0.10 * noise_texture(rng, canvas.shape, 0.05 * unit, stretch=4)
        if identity.hair_style == "curly":
            strands = 0.25 * noise_texture(rng, canvas.shape, 0.035 * unit)
        self.hair = (self.hair_colour * np.clip(1 + strands, 0.4, 1.7)).astype(np.float32)
        self.front_hair = None
        self.undrawn = self.skin.copy()
        self.undrawn_alpha = np.zeros(canvas.shape, np.float32)
        front, back = hair_outlines(identity, rng)
        if back is not None:
            self._cover(self.undrawn_alpha, canvas.polygon(back, blur=0.03))
            self.undrawn[:] = 0.6 * self.hair
        if front is not None:
            self.front_hair = canvas.polygon(front, blur=0.018)
            self._cover(self.undrawn_alpha, self.front_hair)
            # The soft rim of the hair lies over hair, not over skin: no halo.
            rows, columns = self.front_hair[0]
            visible = self.front_hair[1] > 0
            self.undrawn[:, rows, columns][:, visible] = self.hair[:, rows, columns][:, visible]
        if not identity.hair_covers_ears:
            for side in (LEFT, RIGHT):
                ear = canvas.polygon(ear_outline(identity, side), blur=0.015)
                self._blend(self.undrawn, ear, self.skin[:, *ear[0]] * 0.86)
                self._cover(self.undrawn_alpha, ear)

    def _prepare_glasses(self):
        identity, canvas = self.identity, self.canvas
        self.glasses = None
        if identity.glasses != "none":
            rims, nose_bridge, temples = glasses_curves(identity)
            clear = np.ones(canvas.shape, np.float32)
            for curves in (rims, nose_bridge, temples):
                region, weight = canvas.stroke(*curves, width=0.035, blur=0.006)
                clear[region] *= 1 - weight * np.float32(identity.glasses_darkness)
            region = self._opaque_region(1 - clear)
            self.glasses = region, 1 - clear[region]

    def _prepare_light(self):
        identity, canvas, setting = self.identity, self.canvas, self.setting
        x, y = canvas.x[None, :], canvas.y[:, None]
        radius = (np.abs(x) / (identity.face_half_width + 0.06)) ** 2.4 + (
            np.abs(y - 0.12) / 1.98
        ) ** 2.6
        self.skull = (
            1.15 * np.sqrt(np.clip(1.04 - radius, 0.0, None) + 0.004) + self.pores
        ).astype(np.float32)
        # The sides of a head turn away from every light in front of it.
        self.shade = (setting.falloff * np.clip(radius, 0, 1.2) ** 1.5).astype(np.float32)
        rng = np.random.default_rng([setting.texture_seed, 1])
        # Light seldom falls evenly: a window frame, leaves, somebody's shadow.
        self.light_field = np.exp(
            setting.uneven_light * noise_texture(rng, canvas.shape, 0.22 * self.unit)
        ).astype(np.float32)
        if setting.shadow:
            angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(-0.9, 0.9)
            across = np.cos(angle) * x + np.sin(angle) * (y - 0.5) - offset
            edge = 0.5 - 0.5 * np.tanh(across / rng.uniform(0.05, 0.3))
            self.light_field *= (1 - setting.shadow * edge).astype(np.float32)
        cos, sin = np.cos(setting.light_elevation), np.sin(setting.light_elevation)
        self.light = (
            float(np.sin(setting.light_azimuth) * cos),
            float(-sin),
            float(np.cos(setting.light_azimuth) * cos),
        )
        # A camera's automatic exposure makes up for most of a dark face or a dim light.
        brightness = float(np.mean(identity.skin_colour)) * (
            setting.ambient + 0.7 * setting.key_light
        )
        self.exposure = setting.exposure * (0.62 / brightness) ** 0.7

    def _depth(self, points):
        """Height of the head (face units, 0 at its front) at ... x 2 points, for the pose."""
        x, y = points[..., 0], points[..., 1]
        head = 1.05 * np.exp(-((x / 1.3) ** 2) - ((y - 0.2) / 2.1) ** 2)
        nose = 0.25 * np.exp(-((x / 0.26) ** 2) - ((y - self.identity.nose_tip_y) / 0.32) ** 2)
        return head + nose - 1.05

    def _prepare_pose(self):
        """`map_x`, `map_y`: face units seen at each pixel of `window`, where the canvas is seen;
        `coarse_map`: both at every fourth pixel."""
        setting, canvas = self.setting, self.canvas
        rotation = np.array(
            [
                [np.cos(setting.roll), -np.sin(setting.roll)],
                [np.sin(setting.roll), np.cos(setting.roll)],
            ]
        )
        self.pose = rotation * setting.scale * self.image_unit
        self.centre = np.array(
            [
                self.width / 2 + setting.shift[0] * self.image_unit,
                self.height * 0.46 + setting.shift[1] * self.image_unit,
            ]
        )
        margin = 0.1
        low, high = canvas.origin - margin, (canvas.x[-1] + margin, canvas.y[-1] + margin)
        corners = np.array([[x, y] for x in (low[0], high[0]) for y in (low[1], high[1])])
        corners = np.round(corners @ self.pose.T + self.centre).astype(int)
        left, top = np.maximum(corners.min(0), 0)
        right, bottom = np.minimum(corners.max(0), (self.width, self.height))
        self.window = (slice(top, bottom), slice(left, right))
        # The head is smooth: every fourth pixel is solved for, the others interpolated.
        columns, rows = (
            np.arange(low, high + _MAP_STEP, _MAP_STEP, dtype=np.float32)
            for low, high in ((left, right), (top, bottom))
        )
        pixels = np.stack(np.meshgrid(columns, rows), -1)
        turned = ((pixels - self.centre) @ np.linalg.inv(self.pose).T).astype(np.float32)
        self.coarse_map = found = turned.copy()
        for _ in range(5):
            depth = self._depth(found)
            found[..., 0] = (turned[..., 0] - depth * np.sin(setting.yaw)) / np.cos(setting.yaw)
            found[..., 1] = (turned[..., 1] + depth * np.sin(setting.pitch)) / np.cos(setting.pitch)
        fine_x, fine_y = np.meshgrid(
            np.arange(right - left, dtype=np.float32) / _MAP_STEP,
            np.arange(bottom - top, dtype=np.float32) / _MAP_STEP,
        )
        self.map_x, self.map_y = cv2.split(cv2.remap(found, fine_x, fine_y, cv2.INTER_LINEAR))

    def _jitter(self, rng):
        """A small turn, zoom and shift from the steady face to its canvas (2 x 3)."""
        angle, zoom = rng.normal(0, 0.006), 1 + rng.normal(0, 0.004)
        cos, sin = np.cos(angle) / zoom, np.sin(angle) / zoom
        shift = rng.normal(0, 0.012, 2)
        return np.array([[cos, sin, shift[0]], [-sin, cos, shift[1]]])

    def _project(self, points, jitter):
        """Image pixels of points in face units (n x 2)."""
        points = (points - jitter[:, 2]) @ np.linalg.inv(jitter[:, :2]).T
        depth = self._depth(points)
        setting = self.setting
        turned = np.stack(
            [
                points[:, 0] * np.cos(setting.yaw) + depth * np.sin(setting.yaw),
                points[:, 1] * np.cos(setting.pitch) - depth * np.sin(setting.pitch),
            ],
            1,
        )
        return turned @ self.pose.T + self.centre

    def _prepare_background(self):
        setting, identity = self.setting, self.identity
        rng = np.random.default_rng(setting.texture_seed)
        across = np.linspace(-1, 1, self.width, dtype=np.float32)[None, :]
        wall = setting.background + setting.background_gradient * across
        wall = wall + setting.background_clutter * noise_texture(
            rng, (self.height, self.width), 0.6 * self.image_unit
        )
        tint = self._colour(np.clip(1 + rng.normal(0, 0.06, 3), 0.8, 1.1))
        self.background = (np.clip(wall, 0.03, 0.97) * tint / self.exposure).astype(np.float32)
        unit = self.image_unit * setting.scale
        left, top = -self.centre / unit
        body = Canvas(unit, (left, left + self.width / unit), (top, top + self.height / unit))
        neck, throat = body_outlines(identity)
        x = body.x[None, :]
        round_neck = np.clip(
            1.05 - 0.5 * (x / identity.neck_half_width) ** 2 + 0.25 * x * np.sign(self.light[0]),
            0.2,
            1.3,
        )
        under_chin = 0.35 + 0.35 * np.clip((body.y[:, None] - 1.7) / 0.9, 0, 1)
        neck_light = round_neck * under_chin * (setting.ambient + setting.key_light)
        cloth = (
            setting.clothes
            / self.exposure
            * self._colour(rng.uniform(0.5, 1, 3))
            * (1 + 0.08 * noise_texture(rng, body.shape, 0.12 * unit, stretch=3))
            * np.clip(1 + 0.2 * x * np.sign(self.light[0]), 0.6, 1.3)
        )
        for outline, colour in ((neck, self.skin_colour * neck_light), (throat, cloth)):
            region, mask = body.polygon(outline, blur=0.02)
            self._blend(self.background, (region, mask), colour[:, *region])
        blur = setting.blur * self.height / 240
        self.background = np.stack(
            [cv2.GaussianBlur(plane, (0, 0), blur) for plane in self.background]
        )
        self.noise = np.float32(255 * setting.noise) * self.film_grain
        self.developed_background = [self._develop(plane) for plane in self.background]

    def _prepare_eyes(self):
        """`eyeballs`: both as if there were no lids; `highlights`: the light reflected in them."""
        identity, canvas = self.identity, self.canvas
        gaze_x, gaze_y = self.setting.gaze
        rows = slice(*np.searchsorted(canvas.y, (-0.5, 0.5)))
        x, y = canvas.x[None, :], canvas.y[rows, None]
        # The right eye is the left one moved: both look the same way.
        x = np.where(x < 0, x + np.float32(identity.eye_x), x - np.float32(identity.eye_x))
        radius = np.sqrt(
            (x - np.float32(gaze_x)) ** 2
            + (y - np.float32(0.012 - 0.3 * identity.eye_slant + gaze_y)) ** 2
        )

        def disc(size):
            return np.clip((size - radius) * (self.unit / 1.2) + 0.5, 0, 1)

        iris_radius = identity.iris_radius
        eye = self._colour((0.50, 0.51, 0.54)) * (1 - 0.9 * np.clip(radius - 0.14, 0, 0.12))
        iris = self._colour(identity.iris_colour) * (0.75 + 0.5 * radius / iris_radius)
        eye += disc(iris_radius) * (iris * 0.55 - eye)
        eye += disc(iris_radius * 0.85) * (iris - eye)
        eye += disc(iris_radius * 0.42) * (0.02 - eye)
        self.eyeballs = np.zeros((self.channels, *canvas.shape), np.float32)
        self.eyeballs[:, rows] = eye
        spot = np.array([gaze_x + 0.03 * np.sign(self.light[0]), gaze_y - 0.025])
        self.highlights = canvas.polygon(
            *(spot + [sign * identity.eye_x, 0] + 0.02 * _CIRCLE for sign in (-1, 1)), blur=0.006
        )

    # One frame.

    @staticmethod
    def _blend(picture, mask, colour, opacity=None):
        """Paint `colour` (C x 1 x 1, or C x the mask's shape) where mask = (region, weight)."""
        (rows, columns), weight = mask
        part = picture[:, rows, columns]
        part += (weight if opacity is None else weight * np.float32(opacity)) * (colour - part)

    @staticmethod
    def _cover(alpha, mask):
        region, weight = mask
        np.maximum(alpha[region], weight, out=alpha[region])

    def _draw(self, shape):
        """The lit face's layers (colours times opacity, opacity) and their part of the canvas."""
        picture, alpha, lips = self._paint(shape)
        region = self._opaque_region(alpha)
        self._light(picture, region, shape, lips)
        self._blend(picture, self.highlights, 0.8, 0.4)
        if self.glasses:
            self._blend(
                picture,
                self.glasses,
                self._colour((0.12, 0.12, 0.14)) * (1.6 - self.identity.glasses_darkness),
            )
        picture, alpha = picture[:, *region], alpha[region]
        blur = self.setting.blur * self.height / 240
        size = 2 * int(np.ceil(2 * blur)) + 1
        return [
            cv2.GaussianBlur(layer, (size, size), blur) for layer in (*(picture * alpha), alpha)
        ], region

    @staticmethod
    def _opaque_region(alpha, margin=3):
        """The slices that hold all opaque pixels and `margin` more on each side."""
        left, top, width, height = cv2.boundingRect((alpha > 0).view(np.uint8))
        return (
            slice(max(top - margin, 0), top + height + margin),
            slice(max(left - margin, 0), left + width + margin),
        )

    def _paint(self, shape):
        """The unlit picture, its opacity (H x W) and the masks of the two lips."""
        canvas = self.canvas
        picture, alpha = self.undrawn.copy(), self.undrawn_alpha.copy()
        face = canvas.polygon(shape.outline, blur=0.012)
        self._blend(picture, face, self.skin[:, *face[0]])
        self._cover(alpha, face)
        self._paint_beard(picture, shape)
        self._paint_brows(picture, shape)
        self._paint_eyes(picture, shape)
        self._paint_nostrils(picture, shape)
        lips = self._paint_mouth(picture, shape)
        if self.front_hair is not None:
            self._blend(picture, self.front_hair, self.hair[:, *self.front_hair[0]])
        return picture, alpha, lips

    def _paint_brows(self, picture, shape):
        region, weight = self.canvas.polygon(*shape.brow_polygon, blur=0.022)
        self._blend(
            picture,
            (region, weight * self.grain[region]),
            self._colour(self.identity.brow_colour),
            self.identity.brow_density,
        )

    def _paint_eyes(self, picture, shape):
        canvas = self.canvas
        upper = [spline(lid, 3) for lid in shape.upper_lid]
        lower = [spline(lid, 3) for lid in shape.lower_lid]
        region, opening = canvas.polygon(
            *(np.concatenate([lid, lid_low[::-1]]) for lid, lid_low in zip(upper, lower)),
            blur=0.006,
        )
        rows, columns = region
        both = np.concatenate([upper[LEFT][::-1], upper[RIGHT]])
        lid_y = np.interp(canvas.x[columns], both[:, 0], both[:, 1]).astype(np.float32)
        shadow = np.exp(np.minimum(lid_y - canvas.y[rows, None], 0) * np.float32(1 / 0.035))
        self._blend(
            picture,
            (region, opening),
            self.eyeballs[:, rows, columns] * (1 - np.float32(0.5) * shadow),
        )
        lash = np.minimum(self.hair_colour * 0.4, self.skin_colour * 0.3)
        self._blend(picture, canvas.stroke(*upper, width=0.036, blur=0.012), lash, 0.9)
        self._blend(
            picture, canvas.stroke(*lower, width=0.018, blur=0.012), self.skin_colour * 0.5, 0.5
        )

    def _paint_nostrils(self, picture, shape):
        base = shape.nose_base
        centres = 0.45 * base[[0, 4]] + 0.55 * base[[1, 3]] - [0, 0.04]
        self._blend(
            picture,
            self.canvas.polygon(
                *(centre + nostril for centre, nostril in zip(centres, _NOSTRILS)), blur=0.016
            ),
            0.22 * self.skin_colour,
            0.6,
        )

    def _paint_mouth(self, picture, shape):
        identity, canvas = self.identity, self.canvas
        outer_up, inner_up, inner_low, outer_low = (
            spline(curve, 2) for curve in (shape.outer_lip[0], *shape.inner_lip, shape.outer_lip[1])
        )
        lip = self._colour(
            np.clip(
                identity.lip_shade * np.array([0.85, 0.82, 1.12]) * identity.skin_colour, 0.03, 0.95
            )
        )
        upper = canvas.polygon(np.concatenate([outer_up, inner_up[::-1]]), blur=0.014)
        lower = canvas.polygon(np.concatenate([inner_low, outer_low[::-1]]), blur=0.014)
        self._blend(picture, upper, lip * 0.86)
        self._blend(picture, lower, lip)
        gap = float((inner_low[:, 1] - inner_up[:, 1]).max())
        if gap > 0.015:
            opening = canvas.polygon(np.concatenate([inner_up, inner_low[::-1]]), blur=0.008)
            self._blend(
                picture, opening, self._inside_mouth(opening[0], shape, inner_up, inner_low)
            )
        else:
            self._blend(picture, canvas.stroke(inner_up, width=0.035, blur=0.014), lip * 0.3, 0.9)
        return upper, lower

    def _inside_mouth(self, region, shape, inner_up, inner_low):
        """Dark, with the upper teeth and, in a wide mouth, the tongue."""
        canvas = self.canvas
        y, x = canvas.y[region[0]][:, None], canvas.x[region[1]][None, :]
        lip_y = np.interp(x[0], inner_up[:, 0], inner_up[:, 1]).astype(np.float32)
        teeth_end = min(float(np.sort(lip_y)[len(lip_y) // 2]) + 0.14, self.identity.mouth_y + 0.06)
        teeth = np.clip((teeth_end - y) / 0.02, 0, 1) * np.clip(1.15 - (x / 0.42) ** 4, 0, 1)
        teeth *= shape.teeth * (0.92 + 0.08 * np.cos(x * (2 * np.pi / 0.11)))
        tooth = self._colour((0.80, 0.85, 0.88)) * np.clip(0.6 + (y - lip_y) / 0.08, 0.6, 1)
        dark = self._colour((0.05, 0.045, 0.10))
        inside = dark + teeth * (tooth - dark)
        bottom = float(inner_low[:, 1].max())
        gap = bottom - float(inner_up[:, 1].min())
        if gap > 0.25:
            tongue = np.exp(-((x / 0.26) ** 2) - ((y - bottom + 0.02) / (0.4 * gap)) ** 2)
            inside += tongue * (self._colour((0.22, 0.22, 0.5)) - inside)
        return inside

    def _paint_beard(self, picture, shape):
        identity, canvas = self.identity, self.canvas
        if identity.beard or identity.stubble > 0.15:
            low = 1.0 + 0.1 * shape.jaw_drop
            cheek = np.array(
                [
                    [0.88, 0.5],
                    [0.80, 0.85],
                    [0.5, low],
                    [0.2, 0.93],
                    [-0.2, 0.93],
                    [-0.5, low],
                    [-0.80, 0.85],
                    [-0.88, 0.5],
                ]
            )
            region, weight = canvas.polygon(
                np.concatenate([shape.jaw[1:16] * [1.0, 1.01], spline(cheek, 4)]), blur=0.07
            )
            if identity.beard:
                weight = weight * self.grain[region]
            self._blend(
                picture,
                (region, weight),
                self.hair_colour,
                max(0.8 * identity.beard, 0.35 * identity.stubble),
            )
        if identity.moustache:
            lip = shape.outer_lip[0][2:11]
            nose_y = shape.nose_base[2, 1] + 0.03
            top = np.stack([lip[:, 0] * 1.12, np.maximum(lip[:, 1] - 0.13, nose_y)], 1)
            region, weight = canvas.polygon(
                np.concatenate([lip + [0, 0.02], top[::-1]]), blur=0.025
            )
            self._blend(
                picture,
                (region, weight * self.grain[region]),
                self.hair_colour,
                0.85 * identity.moustache,
            )

    def _light(self, picture, region, shape, lips):
        """Light the region of the picture in place by the relief of the face."""
        canvas, setting, unit = self.canvas, self.setting, self.unit
        relief = self.skull.copy()
        self._add_gaussians(relief, shape.bumps)
        for lip, weight in lips:
            relief[lip] += 0.035 * cv2.GaussianBlur(weight, (0, 0), 0.03 * unit)
        lids, weight = canvas.polygon(
            *(
                np.concatenate([fold, lid[::-1]])
                for fold, lid in zip(shape.lid_fold, shape.upper_lid)
            ),
            blur=0.02,
        )
        relief[lids] += 0.02 * weight
        crease = canvas.creases(shape.creases, 0.018)[region]
        relief = relief[region] - 0.045 * crease
        slope_x = cv2.Sobel(relief, cv2.CV_32F, 1, 0, ksize=3, scale=unit / 8)
        slope_y = cv2.Sobel(relief, cv2.CV_32F, 0, 1, ksize=3, scale=unit / 8)
        length = 1 / np.sqrt(1 + slope_x * slope_x + slope_y * slope_y)
        facing = (self.light[2] - self.light[0] * slope_x - self.light[1] * slope_y) * length
        window = int(0.34 * unit) | 1
        hollow = cv2.blur(relief, (window, window)) - relief
        occlusion = np.clip(1 - 1.6 * hollow, 0.45, 1) * (1 - 0.30 * crease)
        # Light wraps a little round the form, as it does on skin.
        diffuse = np.maximum((facing + 0.25) * (setting.key_light / 1.25), 0)
        diffuse += setting.ambient * (0.55 + 0.45 * length)
        picture = picture[:, *region]
        shade = self.shade.copy()
        self._add_gaussians(shade, shape.shades)
        picture *= diffuse * occlusion * self.light_field[region] * np.exp(-shade[region])
        gloss = np.maximum(facing, 0)
        gloss *= gloss
        gloss *= gloss
        gloss *= gloss * gloss
        picture += (0.10 * setting.key_light) * gloss

    def _add_gaussians(self, field, rows):
        """Add Gaussians (n x 5: x, y, sigma_x, sigma_y, height) to a field of the canvas's size."""
        canvas = self.canvas
        # Exponents end at -20: products of what lies beyond take ten times as long (denormals).
        across = np.exp(np.maximum(-0.5 * ((canvas.x - rows[:, 0:1]) / rows[:, 2:3]) ** 2, -20))
        down = np.exp(np.maximum(-0.5 * ((canvas.y[:, None] - rows[:, 1]) / rows[:, 3]) ** 2, -20))
        down *= rows[:, 4]
        # In blocks: from 2^18 multiplications on OpenBLAS starts threads, which would compete with
        # the other workers. OpenCV's product takes six times as long.
        block = (1 << 18) // across.size
        for top in range(0, len(field), block):
            field[top : top + block] += down[top : top + block] @ across

    def _window_of(self, region):
        """The slices of `window`, and those of the image, where a region of the canvas is seen."""
        margin = 0.12  # for the jitter
        rows, columns = region
        x, y = self.canvas.x[columns], self.canvas.y[rows]
        seen = cv2.inRange(
            self.coarse_map,
            (float(x[0]) - margin, float(y[0]) - margin),
            (float(x[-1]) + margin, float(y[-1]) + margin),
        )
        part = self._opaque_region(seen, margin=1)
        whole = [side.stop - side.start for side in self.window]
        part = [
            slice(side.start * _MAP_STEP, min(side.stop * _MAP_STEP, length))
            for side, length in zip(part, whole)
        ]
        return tuple(part), tuple(
            slice(outer.start + inner.start, outer.start + inner.stop)
            for outer, inner in zip(self.window, part)
        )

    def _photograph(self, layers, region, jitter, rng):
        """The uint8 image of `_draw`'s layers: pose, exposure, noise."""
        part, (rows, columns) = self._window_of(region)
        (a, b, c), (d, e, f) = (jitter * self.unit).tolist()
        left, top = (self.canvas.origin * self.unit).tolist()
        left, top = left + region[1].start, top + region[0].start
        map_x, map_y = self.map_x[part], self.map_y[part]
        map_x, map_y = (a * map_x + (b * map_y + (c - left)), d * map_x + (e * map_y + (f - top)))
        # One by one: remap takes longer for two channels than twice for one.
        *head, opacity = (cv2.remap(layer, map_x, map_y, cv2.INTER_LINEAR) for layer in layers)
        down, right = (int(offset) for offset in rng.integers(0, 65, 2))
        noise = self.noise[:, down : down + self.height, right : right + self.width]
        clear = 1 - opacity
        planes = []
        for light, background, developed, grain in zip(
            head, self.background, self.developed_background, noise
        ):
            light += background[rows, columns] * clear
            plane = cv2.add(developed, grain, dtype=cv2.CV_8U)
            plane[rows, columns] = cv2.add(
                self._develop(light), grain[rows, columns], dtype=cv2.CV_8U
            )
            planes.append(plane)
        return cv2.merge(planes) if self.channels == 3 else planes[0]

    def _develop(self, light):
        """Pixel values (0..255, float32) of the light (H x W) that falls on the film."""
        # (e L)^g = e^g L^g: the exposure joins the scale, one pass less.
        veil = 90 * self.setting.veil
        curve = cv2.pow(light, self.setting.gamma)
        curve *= (255 - veil) * self.exposure**self.setting.gamma
        curve += veil
        return curve
