// Certificates, made by OpenSSL for one test run.

import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

/** Makes an authority, a server's certificate and a client's in `directory`; returns where things are. */
export function certificates(directory) {
  const at = (name) => join(directory, name);
  const openssl = (...args) => execFileSync("openssl", args, { stdio: ["ignore", "ignore", "pipe"] });
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  const authority = ["-subj", "/CN=authority", "-days", "30"];
  openssl("req", "-x509", ...key, "-keyout", at("ca.key"), "-out", at("ca.pem"), ...authority);
  const issue = (name, extensions) => {
    const request = ["-keyout", at(`${name}.key`), "-out", at(`${name}.csr`), "-subj", `/CN=${name}`];
    openssl("req", ...key, ...request);
    writeFileSync(at(`${name}.ext`), extensions);
    const by = ["-CA", at("ca.pem"), "-CAkey", at("ca.key"), "-CAcreateserial", "-days", "30"];
    openssl("x509", "-req", "-in", at(`${name}.csr`), ...by, "-extfile", at(`${name}.ext`), "-out", at(`${name}.pem`));
  };
  issue("server", "subjectAltName=DNS:localhost,IP:127.0.0.1\n");
  issue("client", "extendedKeyUsage=clientAuth\n");
  return { at, server: `cert_file: "${at("server.pem")}", key_file: "${at("server.key")}"` };
}
