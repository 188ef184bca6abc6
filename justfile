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

# The slow tests: property tests with many cases, and real disk images from a directory if one is given.
nightly IMAGES="":
    PROPTEST_CASES=20000 ICECORE_FAULTS=1 cargo test --workspace --release
    [ -z "{{IMAGES}}" ] || .ci/acceptance "{{IMAGES}}"
