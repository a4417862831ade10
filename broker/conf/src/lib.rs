//! nats-server's command line and configuration file, read into one set of options.
