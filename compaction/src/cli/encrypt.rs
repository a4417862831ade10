//! `weir encrypt`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use weir_backends::encrypted::Cipher;
use weir_compaction::encrypt::encrypt;

use super::bar::Bar;
use super::server::only_a_store;
use super::{Failure, print};

/// Make an encrypted copy of a store, under a key of its own that the first --key-file (or WEIR_KEY) opens.
///
/// The store itself is only read. If it is encrypted, one of the keys that are given has to open it: so a store gets another key of its
/// own, and not only another one around it. Nothing of what was removed comes along. A store with damage is refused: repair it first. So
/// is one with messages that are lost for good, be that settled, for the copy would not tell of them: the error names them and what to do.
/// Give --cipher as the server's file has it: without it that is chacha, whatever the store has.
#[derive(Args)]
#[command(after_help = "\
Examples:
  weir encrypt /var/lib/weir --out /mnt/encrypted --key-file /etc/weir/key
  weir encrypt /var/lib/weir --out /mnt/encrypted --key-file /etc/weir/new-key --key-file /etc/weir/key --cipher aes

Exit code: 0 it is made; 1 it is not: wrong arguments, no key, no store there, a server has it open, it is damaged, or the output is
there already or cannot be written.

With --json an error is an object of JSON on the standard error: error, remedy, exit.")]
pub struct EncryptArgs {
    /// The server's store directory (its -sd or store_dir), or the folder `weir` in it
    store: PathBuf,
    /// The folder of the copy, a store directory, which must not be there, or be empty
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// What it is encrypted with
    #[arg(long, value_enum, default_value = "chacha")]
    cipher: CipherArg,
    /// Print JSON instead of lines
    #[arg(long)]
    json: bool,
}

/// By nats-server's names.
#[derive(Clone, Copy, ValueEnum)]
enum CipherArg {
    /// ChaCha20-Poly1305
    #[value(alias = "chachapoly")]
    Chacha,
    /// AES-256-GCM
    Aes,
}

pub fn run(args: &EncryptArgs) -> Result<ExitCode, Failure> {
    only_a_store(&args.store, "encrypted from here", "stop it first")?;
    let cipher = match args.cipher {
        CipherArg::Chacha => Cipher::ChaCha,
        CipherArg::Aes => Cipher::Aes,
    };
    let bar = Bar::bytes();
    let report = encrypt(&args.store, &args.out, cipher, &mut |name, done, of| {
        bar.show(name, done, of);
    });
    bar.finish();
    let report = report?;
    print(&report, args.json, report.to_text())?;
    Ok(ExitCode::SUCCESS)
}
