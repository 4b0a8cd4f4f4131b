package dev.limasandbox;

import java.util.ArrayList;
import java.util.List;
import java.util.regex.Pattern;

/** Ports of the sandbox that are reached from 127.0.0.1 while a command runs. Pure. */
final class Ports {
    /** Where surefire and failsafe let a debugger in. */
    private static final int DEBUG = 5005;

    /** A development server that runs until it is ended, and is of use only if it can be reached. */
    private static final Pattern SERVER = Pattern
            .compile("(.*:)?(quarkus(-maven-plugin(:[^:]+)?)?:dev|spring-boot(-maven-plugin(:[^:]+)?)?:(test-)?run)");

    private Ports() {}

    /**
     * The forwards of a run, each [HOST:]GUEST.
     *
     * @param publish lima.publish, null if it is not set: then a development server gets 8080
     * @param debug lima.debug, null if it is not set; a number is the port on this computer
     */
    static List<String> of(List<String> words, String publish, String debug) {
        List<String> ports = new ArrayList<>();
        if (publish != null) {
            ports.addAll(List.of(publish.strip().split("[, ]+")));
        } else if (words.stream().anyMatch(w -> SERVER.matcher(w).matches())) {
            ports.add("8080");
        }
        if (debugs(debug)) {
            ports.add((debug.matches("[0-9]+") ? debug : "" + DEBUG) + ":" + DEBUG);
        }
        ports.remove("");
        return ports;
    }

    /** What makes a run of Maven wait for a debugger before its tests. */
    static List<String> options(String debug) {
        return debugs(debug) ? List.of("-Dmaven.surefire.debug", "-Dmaven.failsafe.debug") : List.of();
    }

    static boolean debugs(String debug) {
        return debug != null && !debug.equals("false");
    }
}
