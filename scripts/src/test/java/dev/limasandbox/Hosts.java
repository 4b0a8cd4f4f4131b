package dev.limasandbox;

import java.io.ByteArrayInputStream;
import java.io.PrintWriter;
import java.io.Writer;
import java.nio.file.Path;
import java.util.Map;

/** Calling processes as tests imagine them. */
final class Hosts {
    private Hosts() {}

    /** One with a home directory and an environment, in some directory, without a terminal. */
    static Sandbox.Host host(Path home, Map<String, String> more) {
        Map<String, String> environment = new java.util.TreeMap<>(more);
        environment.put("HOME", home.toString());
        PrintWriter nowhere = new PrintWriter(Writer.nullWriter());
        return new Sandbox.Host(environment, home, nowhere, nowhere, new ByteArrayInputStream(new byte[0]), "sandbox",
                0);
    }
}
