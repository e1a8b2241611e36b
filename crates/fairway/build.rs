//! Compiles the reference repository (`examples/gitops-cluster-config`) into the binary.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    let manifest = env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    let root = Path::new(&manifest).join("../../examples/gitops-cluster-config");
    println!("cargo::rerun-if-changed={}", root.display());
    let mut paths = Vec::new();
    collect(&root, &mut paths);
    paths.sort();
    let mut code = String::from(
        "/// The files of the reference repository: path and bytes.\nstatic FILES: &[(&str, &[u8])] = &[\n",
    );
    for path in paths {
        let name = path
            .strip_prefix(&root)
            .expect("the path was found below the root");
        let name = name
            .to_str()
            .expect("the reference repository has UTF-8 names")
            .replace('\\', "/");
        let full = path.canonicalize().expect("the file was listed");
        let full = full
            .to_str()
            .expect("the source lies in a folder with a UTF-8 name");
        writeln!(code, "    ({name:?}, include_bytes!({full:?})),")
            .expect("writing to a String cannot fail");
    }
    code.push_str("];\n");
    let out =
        PathBuf::from(env::var("OUT_DIR").expect("cargo sets OUT_DIR")).join("reference_files.rs");
    fs::write(out, code).expect("OUT_DIR can be written");
}

fn collect(dir: &Path, into: &mut Vec<PathBuf>) {
    println!("cargo::rerun-if-changed={}", dir.display());
    for entry in fs::read_dir(dir).expect("the reference repository is part of the source") {
        let path = entry.expect("the folder can be listed").path();
        if path.is_dir() {
            collect(&path, into);
        } else {
            into.push(path);
        }
    }
}
