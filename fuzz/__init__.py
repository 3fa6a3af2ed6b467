"""The fuzzer: damages model folders, descriptions, recordings, key maps and ONNX files, and watches what becomes of them.

    python -m fuzz --minutes 20 --seed 1

Every case ends with a result or with an error of `hugectr2onnx`'s own family. Anything else is a finding: another exception,
a hang, a crash, memory that the files do not justify, a message that nobody reads to its end.
"""
