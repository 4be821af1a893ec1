"""Runs solvers in whatever Caffe runs it: `PYTHON run_solvers.py JOBS`.

A pycaffe script for Python 3.9 and numpy 1.19, run unchanged by both engines, in the folder that
solvers' paths begin at. JOBS is a JSON list of jobs; each job has a `solver` file, the `weights`
to start with or the solverstate to `restore`, and `steps`: numbers of iterations, "by hand" (an
iteration as a script's own loop makes it), "snapshot" or "solve". Its parameters go to the .npz
file `result`, where it is `watched` with the rate after each step and how often callbacks were
called.
"""

import json
import sys

import caffe
import numpy as np


def run(job):
    solver = caffe.get_solver(job["solver"])
    if "weights" in job:
        solver.net.copy_from(job["weights"])
    if "restore" in job:
        solver.restore(job["restore"])
    if "save" in job:
        solver.net.save(job["save"])
    calls, rates = [0, 0], []

    def called(place):
        calls[place] += 1

    solver.add_callback(lambda: called(0), lambda: called(1))
    for step in job["steps"]:
        if step == "snapshot":
            solver.snapshot()
        elif step == "solve":
            solver.solve()
        elif step == "by hand":
            solver.net.clear_param_diffs()
            solver.net.forward()
            solver.net.backward()
            solver.apply_update()
        else:
            solver.step(step)
        rates.append(solver.lr)
    results = {"iter": np.array(solver.iter)}
    if job.get("watched"):
        results.update(calls=np.array(calls), rates=np.array(rates))
    for layer, blobs in solver.net.params.items():
        for place, blob in enumerate(blobs):
            results["param {} of {}".format(place, layer)] = blob.data.copy()
            results["diff of param {} of {}".format(place, layer)] = blob.diff.copy()
    np.savez(job["result"], **results)


def main(path):
    caffe.set_mode_cpu()
    with open(path) as file:
        jobs = json.load(file)
    for job in jobs:
        run(job)


if __name__ == "__main__":
    main(sys.argv[1])
