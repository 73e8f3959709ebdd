# What one does in this repository. CI (.ci/run) runs the same steps; `just` alone lists them.

# Lists the recipes
default:
    @just --list

# Everything that CI checks, from formatting to the demo (README, CONTRIBUTING.md)
ci:
    .ci/run

# Does it compile? The quickest answer
check:
    cargo check --workspace --all-targets --locked

# Formats all sources
fmt:
    cargo fmt --all

# Formatting and clippy, warnings denied
lint:
    .ci/run fmt lint

# All tests: units and end to end
test:
    cargo test --workspace --locked

# The end-to-end tests only, on the real binary; `just e2e drain` runs those with "drain" in their name
e2e *filter:
    cargo test --locked -p tests --test it -- {{filter}}

# The API documentation, warnings denied
docs:
    .ci/run docs

# Licences, advisories, and which crate may use what (needs cargo-deny)
deny:
    cargo deny --all-features --locked check

# What a request costs: tidegate and the floor, a minute or two; options as in docs/benchmarks.md
bench *options:
    cargo run --release --locked -p bench -- quick {{options}}

# The same against nginx, HAProxy, Varnish and Traffic Server, fifteen minutes
compare *options:
    cargo run --release --locked -p bench -- compare {{options}}

# A demo to look at: front, cache and origin on loopback
demo *options:
    cargo run --release --locked -p proxy --bin tidegate -- demo {{options}}
