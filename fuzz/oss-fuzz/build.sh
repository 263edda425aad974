#!/bin/bash -eu
# Builds every fuzz target into $OUT, as OSS-Fuzz and ClusterFuzzLite want them: the target, its seeds as a zip, and its
# dictionary and options if it has any. The sanitizer comes with the builder's RUSTFLAGS.
fuzz=$SRC/ifnet/fuzz
cargo fuzz build --fuzz-dir "$fuzz" -O
host=$(rustc -vV | sed -n 's/^host: //p')
# `empty` only measures what the fuzzer itself costs.
for target in $(cargo fuzz list --fuzz-dir "$fuzz" | grep -vx empty); do
	cp "${CARGO_TARGET_DIR:-$fuzz/target}/$host/release/$target" "$OUT/"
	seeds=("$fuzz/seeds/$target")
	# Every scenario of the tests is a seed as well.
	[ "$target" != scenario ] || seeds+=("$fuzz/../tests/scenarios")
	# What campaigns have left.
	if [ -f "$fuzz/corpora/$target.tar.gz" ]; then
		kept=$(mktemp -d)
		tar -xzf "$fuzz/corpora/$target.tar.gz" -C "$kept"
		seeds+=("$kept")
	fi
	for folder in "${seeds[@]}"; do (cd "$folder" && zip -q -r "$OUT/${target}_seed_corpus.zip" .); done
	for extra in "$fuzz/dict/$target.dict" "$fuzz/options/$target.options"; do
		if [ -f "$extra" ]; then cp "$extra" "$OUT/"; fi
	done
done
