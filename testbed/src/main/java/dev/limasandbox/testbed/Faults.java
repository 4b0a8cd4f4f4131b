package dev.limasandbox.testbed;

/** The one place where a test can make the stand-in fail; no fault is known yet. */
final class Faults {
    private Faults() {}

    /** Called at the points that a fault can be put; the point's name is that of the command. */
    static void at(String point, Instance instance) {
        Log.debug("fault point " + point + " of " + instance.name);
    }
}
