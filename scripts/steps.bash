# What every script here shares: the way to the project, to cargo and to the built programs, and
# steps that say what they do, how long it took and, at the end, how all of them went.
#
# Sourced by the scripts beside it, never run. After `source` the working directory is the project.

set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

# A shell that did not read the profile (CI, sudo, cron) does not know rustup's directory.
if ! command -v cargo >/dev/null 2>&1; then
    PATH="${CARGO_HOME:-${HOME:-/nonexistent}/.cargo}/bin:$PATH"
    export PATH
fi

# Where cargo puts what it builds.
export TARGET_DIR="${CARGO_TARGET_DIR:-target}"

# A clean CI machine builds once: the bookkeeping for incremental builds is lost time there.
if [[ "${CI:-}" == "true" ]]; then
    export CARGO_INCREMENTAL="${CARGO_INCREMENTAL:-0}"
fi

# fail WHAT CURE...: says what happened and what to do, and ends the script.
fail() {
    printf '\nerror: %s\n' "$1" >&2
    shift
    printf '       %s\n' "$@" >&2
    exit 1
}

# minutes SECONDS: the way people read a duration.
minutes() {
    printf '%dm%02ds' $(($1 / 60)) $(($1 % 60))
}

STEP_ROWS=()
STEP_NAME=""
STEP_STARTED=0

# step NAME COMMAND...: runs the command below a headline and remembers its duration. The script
# ends with the first command that fails; `steps_summary` then says which one it was.
step() {
    STEP_NAME="$1"
    STEP_STARTED=$SECONDS
    shift
    printf '\n==> %s\n' "$STEP_NAME"
    "$@"
    local duration
    duration=$(minutes $((SECONDS - STEP_STARTED)))
    STEP_ROWS+=("$(step_row "$STEP_NAME" "ok" "$duration")")
    printf '    %s: ok in %s\n' "$STEP_NAME" "$duration"
    STEP_NAME=""
}

# step_row NAME RESULT TIME
step_row() {
    printf '%-44s %-7s %7s\n' "$@"
}

# steps_summary: one row per step, the one that failed included, and the whole.
steps_summary() {
    local result="ok"
    printf '\n'
    step_row "step" "result" "time"
    if [[ ${#STEP_ROWS[@]} -gt 0 ]]; then
        printf '%s\n' "${STEP_ROWS[@]}"
    fi
    if [[ -n "$STEP_NAME" ]]; then
        result="FAILED"
        step_row "$STEP_NAME" "$result" "$(minutes $((SECONDS - STEP_STARTED)))"
    fi
    step_row "all" "$result" "$(minutes "$SECONDS")"
}
