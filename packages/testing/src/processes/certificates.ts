import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";

/** Whether certificates can be made here; says so when not. */
export function hasOpenssl(): boolean {
  const isThere = spawnSync("openssl", ["version"]).status === 0;
  if (!isThere) console.log("skipped: there is no openssl to make certificates with");
  return isThere;
}

/** Makes a folder with a CA of its own (`ca.crt`) and a certificate of it (`tls.crt`, `tls.key`), valid for seven days. */
export function makeCertificates(folder: string, subjectAltName = "IP:127.0.0.1"): string {
  mkdirSync(folder);
  const file = (base: string) => join(folder, base);
  const openssl = (...words: string[]) => execFileSync("openssl", words, { stdio: "pipe" });
  const fresh = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  const subject = `/CN=${basename(folder)}`;
  openssl("req", "-x509", ...fresh, "-days", "9", "-subj", subject, "-keyout", file("ca.key"), "-out", file("ca.crt"));
  openssl("req", ...fresh, "-subj", "/CN=moiety", "-keyout", file("tls.key"), "-out", file("tls.csr"));
  writeFileSync(file("san"), `subjectAltName=${subjectAltName}`);
  const signed = ["-CA", file("ca.crt"), "-CAkey", file("ca.key"), "-CAcreateserial", "-days", "7", "-extfile", file("san")];
  openssl("x509", "-req", "-in", file("tls.csr"), ...signed, "-out", file("tls.crt"));
  return folder;
}
