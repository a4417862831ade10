#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use x509_parser::prelude::FromDer;

use super::*;

/// `/DC=com/DC=example/C=DE/OU=b/OU=a, b/O=x+CN=#y /UID=ü/serialNumber=5/CN=last `, by OpenSSL.
const SUBJECT: &str = "30819e31133011060a0992268993f22c6401191603636f6d31173015060a0992268993f22c64011916076578616d706c65\
    310b3009060355040613024445310a3008060355040b0c0162310d300b060355040b0c04612c206231163008060355040a0c0178300a06035504030c03237920\
    31123010060a0992268993f22c6401010c02c3bc310a30080603550405130135310e300c06035504030c056c61737420";

fn name(hex: &str) -> Name {
    let digits: Vec<u8> = hex
        .bytes()
        .map(|digit| (digit as char).to_digit(16).unwrap() as u8)
        .collect();
    let der: Vec<u8> = digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    let (rest, parsed) = X509Name::from_der(&der).unwrap();
    assert!(rest.is_empty());
    Name::of(&parsed).unwrap()
}

#[test]
fn names_are_printed_as_nats_server_prints_them() {
    let subject = name(SUBJECT);
    // All three were recorded of nats-server 2.15.1.
    assert_eq!(subject.known(), "SERIALNUMBER=5,CN=last\\ ,OU=b+OU=a\\, b,O=x,C=DE");
    assert_eq!(subject.domain(), "DC=com,DC=example");
    assert_eq!(
        subject.whole(),
        "SERIALNUMBER=5,CN=last\\ ,OU=b+OU=a\\, b,O=x,C=DE,0.9.2342.19200300.100.1.1=ü,0.9.2342.19200300.100.1.25=example,\
         0.9.2342.19200300.100.1.25=com"
    );
}

#[test]
fn sets_stay_together() {
    let subject = name(SUBJECT);
    let kinds: Vec<Vec<Option<&str>>> = subject
        .0
        .iter()
        .map(|set| set.iter().map(Attribute::named).collect())
        .collect();
    assert_eq!(kinds[5], [Some("O"), Some("CN")]);
    assert_eq!(kinds[6], [None]);
}
