#!/bin/bash
# usage: tools/long/shared_data.sh FOLDER
# Real sections of every layout through every command. FOLDER holds her2st/, st_mouse_olfactory_bulb/, visium_human_breast_crop/,
# h5ad_spatial/, wsi_cmu1_small_region/ and stimage1k4m_A1/, each with a README that states its shapes and totals: `inspect` has to print
# these. Then each is embedded, and where there are counts a model is trained on it for two epochs, predicts it and is scored (on what it
# has seen: this is about reading and writing). Needs python3-pil; takes minutes. Prints a line for each
# section and each complaint; exits with 1 if there was one.
set -uo pipefail
data="$(realpath "${1:?usage: tools/long/shared_data.sh FOLDER}")"
cd "$(dirname "$0")/../.." || exit 1
stflow="$PWD/stflow" work="$(mktemp -d)" failed=0
trap 'rm -rf "$work"' EXIT
mkdir "$work/inspect"
complain() { echo "FAILED $1"; [ ! -s "$work/err" ] || sed 's/^/  | /' "$work/err"; failed=$((failed + 1)); }
# run WHAT WORDS...: stflow WORDS, whose standard output is $work/out.
run() {
  local what="$1"
  shift
  "$stflow" "$@" >"$work/out" 2>"$work/err" || { complain "$what: $1 ended with $?"; return 1; }
}
# refused WHAT PART WORDS...: with 65 and one line that has PART, the flag that helps.
refused() {
  local what="$1" part="$2" rc=0
  shift 2
  "$stflow" "$@" >"$work/out" 2>"$work/err" || rc=$?
  { [ $rc -eq 65 ] && grep -q -- "^stflow: error: .*$part" "$work/err"; } || complain "$what: $1: no refusal with $part"
}
inspect() { run "$1" inspect "$2" --json "${@:3}" && cp "$work/out" "$work/inspect/$1.json"; }
# embed NAME PATCHES INPUT FLAGS...
embed() {
  run "$1" embed "$3" -o "$work/$1.features" --json --quiet "${@:4}" || return
  local patches
  patches="$(/usr/bin/python3 -c 'import json,sys; print(sum(s["patches"] for s in json.load(sys.stdin).values()))' <"$work/out")"
  [ "$2" = any ] || [ "$patches" = "$2" ] || complain "$1: $patches patches, expected $2"
}
# cycle NAME PAIR INPUT FLAGS...: train on the data set PAIR, which has the section on both sides of its split, or a part of it; predict and
# score INPUT.
cycle() {
  local name="$1" pair="$2" input="$3" out="$work/$1.h5ad"
  shift 3
  [ "$pair" != "$input" ] || out="$work/$name.predicted"  # a folder of several sections
  run "$name" train --data "$pair" --epochs 2 --members 1 --genes 20 --samples 2 --save-dir "$work/$name.run" --no-maps --quiet \
    --cache-dir "$work/cache" "$@" || return
  run "$name" predict "$input" --model "$work/$name.run" -o "$out" --quiet --cache-dir "$work/cache" "$@" || return
  run "$name" eval "$out" "$input" --bootstrap 0 --json --quiet "${reading[@]}" || return
  /usr/bin/python3 - "$name" "$work/out" <<'END' || complain "$name: eval"
import json, sys
found = json.load(open(sys.argv[2]))
print(f"{sys.argv[1]}: {found['spots']} spots, {found['genes']} genes, Pearson {found['pooled']['pearson']:.3f}")
assert found["spots"] > 0 and found["genes"] == 20
END
}
# pair SAMPLE IMAGE COUNTS SPOTS [MPP]: a manifest with the section for training and for testing, and another of it alone.
pair() {
  local header="sample,image,counts,spots,mpp,split"
  printf '%s\n%s,%s,train\n%s,%s,test\n' "$header" "$1" "$2,$3,$4,${5:-}" "$1_again" "$2,$3,$4,${5:-}" >"$work/$1_pair.csv"
  printf '%s\n%s,%s,\n' "$header" "$1" "$2,$3,$4,${5:-}" >"$work/$1.csv"
}
reading=()

# What the READMEs say of files that are not here as a whole is made of what is: A1's image is a reduced one, STImage-1K4M's A1 has its
# counts and image in her2st. The brain's image is cut to 100 x 100 pixels: noise stands for the rest.
/usr/bin/python3 - "$data" "$work" <<'END' || exit 1
import csv, gzip, os, sys
from PIL import Image
data, work = sys.argv[1:]
her2st, stimage = f"{data}/her2st", f"{work}/stimage"
dark = Image.open(f"{her2st}/app-www-imgs/A1_HE_image_dark.png").convert("RGB")
with open(f"{her2st}/ST-spotfiles/A1_selection.tsv") as f, open(f"{work}/A1_selection.tsv", "w") as out:
    rows = list(csv.DictReader(f, delimiter="\t"))
    writer = csv.DictWriter(out, rows[0].keys(), delimiter="\t")
    writer.writeheader()
    for row in rows:
        row["pixel_x"] = float(row["pixel_x"]) * dark.width / 6954
        row["pixel_y"] = float(row["pixel_y"]) * dark.height / 7435
        writer.writerow(row)
for folder in ("coord", "gene_exp", "image"):
    os.makedirs(f"{stimage}/{folder}")
name = "Human_Breast_Andersson_10142021_ST_A1"
os.symlink(f"{data}/stimage1k4m_A1/{name}_coord.csv", f"{stimage}/coord/{name}_coord.csv")
with gzip.open(f"{her2st}/ST-cnts/A1.tsv.gz", "rt") as f, open(f"{stimage}/gene_exp/{name}_count.csv", "w") as out:
    for i, row in enumerate(csv.reader(f, delimiter="\t")):
        out.write(",".join([row[0] if i == 0 else f"{name}_{row[0]}"] + row[1:]) + "\n")
dark.resize((6954, 7435)).save(f"{stimage}/image/{name}.png", compress_level=1)
Image.merge("RGB", [Image.effect_noise((1200, 1200), 60)] * 3).resize((12000, 12000)).save(f"{work}/brain.jpg")
END
her2st="$data/her2st" brain="$data/h5ad_spatial/visium_mouse_brain_49spots.h5ad" hd="$data/h5ad_spatial/visium_hd_human_crc_16um_675bins.h5ad"
crop="$data/visium_human_breast_crop" bulb="$data/st_mouse_olfactory_bulb" slide="$data/wsi_cmu1_small_region/CMU-1-Small-Region.svs"
stimage="Human_Breast_Andersson_10142021_ST_A1"

inspect her2st "$her2st"
embed her2st 910 "$her2st"
cycle her2st "$her2st" "$her2st"

pair A1 "$her2st/app-www-imgs/A1_HE_image_dark.png" "$her2st/ST-cnts/A1.tsv.gz" "$work/A1_selection.tsv"
inspect A1 "$work/A1.csv"
embed A1 346 "$work/A1.csv"
cycle A1 "$work/A1_pair.csv" "$work/A1.csv"

inspect stimage "$work/stimage"
embed stimage 346 "$work/stimage"
pair "$stimage" "$work/stimage/image/$stimage.png" "$work/stimage/gene_exp/${stimage}_count.csv" "$work/stimage/coord/${stimage}_coord.csv"
cycle stimage "$work/${stimage}_pair.csv" "$work/stimage"

# Nothing says how large the bulb's array is.
inspect bulb "$bulb"
refused bulb "pass --mpp or --spot-pitch" embed "$bulb" -o "$work/none"
reading=(--spot-pitch 150)
embed bulb 1224 "$bulb" "${reading[@]}"
cycle bulb "$bulb" "$bulb" "${reading[@]}"
reading=()

inspect crop "$crop"
embed crop 338 "$crop"
pair visium_human_breast_crop "" "$crop" ""
cycle crop "$work/visium_human_breast_crop_pair.csv" "$crop"

inspect hd "$hd"
embed hd 675 "$hd"
pair visium_hd_human_crc_16um_675bins "" "$hd" ""
cycle hd "$work/visium_hd_human_crc_16um_675bins_pair.csv" "$hd"

# Normalised, without its image and a scale: each refusal names its flag.
inspect brain "$brain"
refused brain "--x-is log1p" predict "$brain" --model "$work/hd.run" -o "$work/none.h5ad"
refused brain "pass --mpp or --spot-pitch" embed "$brain" -o "$work/none"
reading=(--x-is log1p)
embed brain 49 "$brain" --image "$work/brain.jpg" --mpp 0.73
pair visium_mouse_brain_49spots "$work/brain.jpg" "$brain" "" 0.73
cycle brain "$work/visium_mouse_brain_49spots_pair.csv" "$work/visium_mouse_brain_49spots.csv" "${reading[@]}"
reading=()

inspect slide "$slide"
embed slide any "$slide"
run slide predict "$slide" --model "$work/her2st.run" -o "$work/slide.h5ad" --json --quiet && cp "$work/out" "$work/inspect/slide.predicted.json"

# What was inspected against what the READMEs state.
/usr/bin/python3 - "$data" "$work/inspect" <<'END' || failed=$((failed + 1))
import json, re, sys
from pathlib import Path

data, found = map(Path, sys.argv[1:])
wrong = compared = 0


def same(what, have, stated, within=0.51):
    """READMEs round to whole numbers, shares to a tenth of a percent."""
    global wrong, compared
    compared += 1
    if abs(float(have) - float(stated)) > within:
        wrong += 1
        print(f"FAILED {what}: inspect says {have}, the README {stated}")


def sections(name):
    return {s["sample"]: s for s in json.loads((found / f"{name}.json").read_text())["sections"]}


def readme(folder):
    return (data / folder / "README.md").read_text()


def tables(folder, first):
    """The cells of the README's rows that begin with the pattern `first`."""
    return [[c.strip() for c in line.strip("|\n").split("|")] for line in readme(folder).splitlines() if re.match(rf"\| {first} \|", line)]


def totals(what, s, median, least, most, present, zeros):
    total = s["total_per_spot"]
    for name, have, stated in (("median", total["median"], median), ("least", total["min"], least), ("most", total["max"], most)):
        if stated is not None:
            same(f"{what}: {name} total", have, stated)
    if present is not None:
        same(f"{what}: genes per spot", s["genes_per_spot_median"], present)
    same(f"{what}: zeros", 100 * s["zeros"], zeros, 0.051)


her2st = {**sections("her2st"), **sections("A1")}
stimage, = sections("stimage").values()
rows = tables("her2st", "(C[2-6]|A1)")
assert len(rows) == 6, rows
for sample, size, spots, genes, total, present, zeros in rows:
    s = her2st[sample]
    if sample != "A1":
        width, height = re.findall(r"\d+", size)
        same(f"{sample}: width", s["image"]["width"], width), same(f"{sample}: height", s["image"]["height"], height)
    for s in (s, stimage) if sample == "A1" else (s,):
        what = s["sample"]
        same(f"{what}: spots", s["read_spots"], spots.split("/")[0], 0), same(f"{what}: genes", s["genes"], genes, 0)
        totals(what, s, *re.findall(r"\d+", total), present, zeros.rstrip(" %"))
same("STImage: width", stimage["image"]["width"], 6954), same("STImage: height", stimage["image"]["height"], 7435)

rows = tables("st_mouse_olfactory_bulb", "MOB[1-3]")
assert len(rows) == 3, rows
for sample, shape, spots, total, zeros in rows:
    s = sections("bulb")[sample]
    every, genes = re.findall(r"\d+", shape)
    same(f"{sample}: tissue spots", s["read_spots"], spots, 0), same(f"{sample}: genes", s["genes"], genes, 0)
    same(f"{sample}: all spots", s["counts_file"]["spots"], every, 0)
    totals(sample, s["counts_file"], total, None, None, None, zeros.rstrip(" %"))

text = readme("visium_human_breast_crop").replace("\n", " ")
s, = sections("crop").values()
genes, spots, zeros = re.search(r"(\d+) genes x (\d+) spots, [\d ]+ non-zeros \(([\d.]+) % zeros\)", text).groups()
median, least, most, present = (n.replace(" ", "") for n in re.search(r"median ([\d ]+) \(([\d ]+)-([\d ]+)\), ([\d ]+) genes", text).groups())
same("crop: spots", s["read_spots"], spots, 0), same("crop: genes", s["genes"], genes, 0)
totals("crop", s, median, least, most, present, zeros)
width, height = re.search(r"identical, (\d+) x (\d+) RGB", text).groups()
same("crop: width", s["image"]["width"], width), same("crop: height", s["image"]["height"], height)

text = readme("h5ad_spatial").replace("\n", " ")
s, = sections("brain").values()
spots, genes = re.search(r"(\d+) spots of the 10x Genomics data set V1_Adult_Mouse_Brain, (\d+) variable genes", text).groups()
same("brain: spots", s["read_spots"], spots, 0), same("brain: genes", s["genes"], genes, 0)
assert "--x-is log1p" in s["problem"], s
s, = sections("hd").values()
spots, genes = re.search(r"(\d+) bins of 16 um .*?, (\d+) genes", text).groups()
median, least, most = re.search(r"total median (\d+), range (\d+)-(\d+)", text).groups()
height, width = re.search(r"uint8 (\d+) x (\d+) x 3", text).groups()
same("hd: spots", s["read_spots"], spots, 0), same("hd: genes", s["genes"], genes, 0)
for name, have, stated in (("median", "median", median), ("least", "min", least), ("most", "max", most)):
    same(f"hd: {name} total", s["total_per_spot"][have], stated)
same("hd: width", s["image"]["width"], width), same("hd: height", s["image"]["height"], height)

text = readme("wsi_cmu1_small_region")
s = json.loads((found / "slide.json").read_text())
width, height, side = re.search(r"\| 0 \| (\d+) x (\d+) \| tiles (\d+) x", text).groups()
same("slide: width", s["width"], width), same("slide: height", s["height"], height)
same("slide: tiles", s["levels"][0]["tile_width"], side), same("slide: levels", len(s["levels"]), 1, 0)
same("slide: mpp", s["mpp"], re.search(r"MPP = ([\d.]+)", text)[1], 0)
same("slide: tissue", 100 * s["tissue_share"], 100 / 3, 15)  # "roughly a third"
assert json.loads((found / "slide.predicted.json").read_text())["CMU-1-Small-Region"]["spots"] > 50
print(f"{compared} numbers compared with the READMEs, {wrong} differ")
sys.exit(wrong > 0)
END
echo "shared_data: $failed failures"
[ $failed -eq 0 ]
