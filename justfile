# What a person working on icecore calls. Every recipe is one or two plain commands, so that just is not needed.

# The recipes.
default:
    @just --list

# What CI runs.
check:
    .ci/run

# All tests.
test *ARGS:
    cargo test --workspace {{ARGS}}

# Threads that share state, in many of the orders in which they can come (`ICECORE_SCHEDULES=100` tries a hundred times as many), and
# every state of the journal's protocol.
models:
    cargo test --manifest-path tests/models/Cargo.toml --target-dir "${CARGO_TARGET_DIR:-target}" --locked --lib model
    cargo test --manifest-path tests/journal/Cargo.toml --target-dir "${CARGO_TARGET_DIR:-target}" --locked

# Formats the code.
fmt:
    cargo fmt --all

# Clippy on all targets, warnings are errors.
lint:
    cargo clippy --workspace --all-targets --locked -- -D warnings

# The documentation of the code, private items included.
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --locked

# Licences, advisories, sources and duplicates of the dependencies.
deny:
    cargo deny --locked check

# The length of files; that of functions is clippy's.
size:
    .ci/size

# A small image, snapshotted, changed, snapshotted again and restored.
demo:
    cargo run --release -- demo

# The speed of the engine, by stage and by verb. To compare two states of the code: `just bench --save-baseline before`,
# change it, `just bench --baseline before`. A word before these runs only the benches that have it in their names.
bench *ARGS:
    cargo bench -p icecore --bench engine -- {{ARGS}}

# Writes docs/cli.md again from the program's help.
docs-cli:
    ICECORE_BLESS=1 cargo test -p icecore-cli --test cli the_reference_is_what_the_program_says

# Fuzzes each target for some seconds, or only those that are named. What is found is in fuzz/artifacts/.
fuzz SECONDS *TARGETS:
    .ci/fuzz {{SECONDS}} {{TARGETS}}

# Breaks the core on purpose, one place at a time, and tells which breaks no test notices: part K of N, counted from 0, or today's.
mutants SHARD="" *ARGS:
    .ci/mutants "{{SHARD}}" {{ARGS}}

# Every test in its long form, a part of the mutants, for hours, real disk images from a directory if one is given, and machines that boot from volumes, for
# which root is needed (`ICECORE_BOOT=0` leaves them out, ICECORE_BOOT_DIR is where their image is kept). docs/testing.md says what each
# variable is; one that is set in the environment already shortens it.
nightly IMAGES="":
    PROPTEST_CASES=${PROPTEST_CASES:-20000} ICECORE_CRASH_STATES=${ICECORE_CRASH_STATES:-20} \
        ICECORE_SCHEDULES=${ICECORE_SCHEDULES:-40} ICECORE_EXHAUSTIVE=${ICECORE_EXHAUSTIVE:-1} ICECORE_VOLUME_WRITES=${ICECORE_VOLUME_WRITES:-20000} \
        ICECORE_FAULTS=${ICECORE_FAULTS:-1} ICECORE_FLEETS=${ICECORE_FLEETS:-1000} \
        ICECORE_STRESS_COMMANDS=${ICECORE_STRESS_COMMANDS:-1000} ICECORE_VOLUME_ROUNDS=${ICECORE_VOLUME_ROUNDS:-20} cargo test --workspace --release
    RAYON_NUM_THREADS=1 taskset -c 0 cargo test --workspace --release
    ICECORE_SCHEDULES=${ICECORE_SCHEDULES:-100} cargo test --manifest-path tests/models/Cargo.toml --target-dir "${CARGO_TARGET_DIR:-target}" --locked --release --lib model
    cargo test --manifest-path tests/journal/Cargo.toml --target-dir "${CARGO_TARGET_DIR:-target}" --locked
    tests/fleet/run --icecore "${CARGO_TARGET_DIR:-target}/release/icecore" --minutes "${ICECORE_FLEET_MINUTES:-10}"
    tests/fleet/run --icecore "${CARGO_TARGET_DIR:-target}/release/icecore" --minutes "${ICECORE_FLEET_MINUTES:-10}" --server double
    .ci/fuzz 3
    ICECORE_FUZZ_SANITIZER=address .ci/fuzz "$((${ICECORE_FUZZ_MINUTES:-60} * 60 / $(ls fuzz/fuzz_targets | wc -l)))"
    [ "${ICECORE_MUTANTS_SHARD:-}" = 0 ] || .ci/mutants "${ICECORE_MUTANTS_SHARD:-}"
    [ -z "{{IMAGES}}" ] || .ci/acceptance "{{IMAGES}}"
    cargo run --release --locked -- demo
    [ "${ICECORE_BOOT:-1}" = 0 ] || ICECORE="${CARGO_TARGET_DIR:-target}/release/icecore" docs/examples/boot-a-clone.sh "${ICECORE_BOOT_DIR:-/var/tmp/icecore-boot}"
