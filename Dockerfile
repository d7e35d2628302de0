# The image of `ctr-keras prepare`'s workers on Dataflow and other remote runners (README, "In the
# cloud"): Beam's own, of the Beam version in constraints.txt, with this project and what it needs.
FROM apache/beam_python3.11_sdk:2.77.0
WORKDIR /ctr-keras
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY ctr_keras ctr_keras
COPY pipeline pipeline
COPY serving serving
RUN pip install --no-cache-dir -c constraints.txt '.[pipeline]'
