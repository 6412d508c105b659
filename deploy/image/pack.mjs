// Copies what one workspace needs to run: node deploy/image/pack.mjs <workspace> <target>. That is what its package.json and those of
// the workspaces it depends on list as their files, and the packages they depend on, from node_modules as it is installed. No types, maps,
// TypeScript or development dependencies. Every path stays what it is in the repository.
import { cpSync, existsSync, lstatSync, mkdirSync, readFileSync, realpathSync, symlinkSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = realpathSync(fileURLToPath(new URL("../../", import.meta.url)));
/** Only a build without Rust lacks it: everything but constrained decoding works then. */
const OPTIONAL_FILES = new Set(["packages/grammar/build/moiety_grammar.node"]);
const UNUSED = /\.[cm]?ts$|\.map$|\.tsbuildinfo$|\/(README|CHANGELOG|HISTORY)\.md$/i;
/** Addons that a package brings for every system, such as tokenizers.linux-x64-gnu.node. */
const PREBUILT = /\.(android|darwin|linux|win32)-[a-z0-9-]+\.node$/;
/** The images' libc is GNU's. */
const OWN_PREBUILT = new RegExp(`\\.${process.platform}-${process.arch}(-gnu)?\\.node$`);

const [workspace, target] = process.argv.slice(2);
if (workspace === undefined || target === undefined) {
  process.stderr.write("Usage: node deploy/image/pack.mjs <workspace> <target>\n");
  process.exit(2);
}

const packed = new Set();
mkdirSync(target, { recursive: true });
copy(join(ROOT, "LICENSE"));
packWorkspace(resolve(ROOT, workspace));

function packWorkspace(folder) {
  if (packed.has(folder)) return;
  packed.add(folder);
  const manifest = readManifest(folder);
  const programs = Object.values(manifest.bin ?? {});
  for (const file of ["package.json", ...(manifest.files ?? []), ...programs]) {
    const path = join(folder, file);
    if (existsSync(path)) copy(path);
    else if (OPTIONAL_FILES.has(relative(ROOT, path))) process.stderr.write(`pack: ${path} is left out: it was not built\n`);
    else fail(`${path} does not exist; build it first`);
  }
  packDependencies(folder, manifest);
}

function packDependencies(folder, manifest) {
  const { dependencies, optionalDependencies, peerDependencies, peerDependenciesMeta = {} } = manifest;
  for (const name of Object.keys({ ...dependencies, ...optionalDependencies, ...peerDependencies })) {
    const found = find(name, folder);
    if (found !== undefined) packPackage(found);
    else if (name in (optionalDependencies ?? {}) || peerDependenciesMeta[name]?.optional === true) continue;
    else fail(`${name}, which ${folder} depends on, is not installed`);
  }
}

function packPackage(folder) {
  if (packed.has(folder)) return;
  packed.add(folder);
  if (lstatSync(folder).isSymbolicLink()) {
    const there = join(target, relative(ROOT, folder));
    const workspaceFolder = realpathSync(folder);
    mkdirSync(dirname(there), { recursive: true });
    symlinkSync(relative(dirname(folder), workspaceFolder), there);
    return packWorkspace(workspaceFolder);
  }
  copy(folder);
  packDependencies(folder, readManifest(folder));
}

/** The folder of a package, as Node would find it from another. */
function find(name, from) {
  for (let folder = from; folder.startsWith(ROOT); folder = dirname(folder)) {
    const candidate = join(folder, "node_modules", name);
    if (existsSync(candidate)) return candidate;
    if (folder === ROOT) break;
  }
  return undefined;
}

/** Packages nested in this one are packed for themselves, if anyone needs them. */
function copy(path) {
  const isForeign = (each) => PREBUILT.test(each) && !OWN_PREBUILT.test(each);
  const isWanted = (each) => each === path || !(UNUSED.test(each) || each.endsWith("/node_modules") || isForeign(each));
  cpSync(path, join(target, relative(ROOT, path)), { recursive: true, filter: isWanted });
}

function readManifest(folder) {
  return JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
}

function fail(message) {
  process.stderr.write(`pack: ${message}\n`);
  process.exit(1);
}
