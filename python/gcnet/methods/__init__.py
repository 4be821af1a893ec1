"""The methods, a package each: their models, published numbers, figures and experiments.

`models.py` of a method registers its Models and what is published of them; all.py imports those of
every method. Nothing of gcnet outside of this package imports it. An order of solvers that a method
states (gcnet.in_caffe.alternating) is loaded by BVLC Caffe's Python 3.9: it imports nothing of this
package.
"""
