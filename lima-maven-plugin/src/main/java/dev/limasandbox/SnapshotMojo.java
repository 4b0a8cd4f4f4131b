package dev.limasandbox;

import org.apache.maven.plugin.MojoExecutionException;
import org.apache.maven.plugins.annotations.Mojo;
import org.apache.maven.plugins.annotations.Parameter;

/** Keeps the present state of the sandbox's disk under a tag. A running one is stopped and started again. */
@Mojo(name = "snapshot", requiresProject = false, threadSafe = true)
class SnapshotMojo extends LimaMojo {
    /** The tag; without it the time. */
    @Parameter(property = "lima.tag")
    private String tag;

    @Override
    void work() throws MojoExecutionException {
        snapshot(tag == null ? new String[]{"create", target()} : new String[]{"create", target(), tag});
    }
}
