use super::*;

#[test]
fn states_arrive_at_a_path_and_at_a_name() -> io::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("notify");
    let name = format!("@weir-notify-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name[1..])?;
    let sockets = [
        (path.display().to_string(), UnixDatagram::bind(&path)?),
        (name, UnixDatagram::bind_addr(&address)?),
    ];
    for (to, socket) in &sockets {
        for (state, expected) in [
            (State::Ready, "READY=1\nMAINPID="),
            (State::Reloading, "RELOADING=1\nMONOTONIC_USEC="),
            (State::Stopping, "STOPPING=1"),
        ] {
            send(to, &message(state))?;
            let mut buffer = [0; 200];
            let len = socket.recv(&mut buffer)?;
            assert!(buffer[..len].starts_with(expected.as_bytes()), "{state:?}");
        }
    }
    Ok(())
}
