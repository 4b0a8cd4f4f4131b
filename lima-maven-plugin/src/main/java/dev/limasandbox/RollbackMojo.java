package dev.limasandbox;

import org.apache.maven.plugin.MojoExecutionException;
import org.apache.maven.plugins.annotations.Mojo;
import org.apache.maven.plugins.annotations.Parameter;

/** Puts the sandbox's disk back to a snapshot; what it was before is kept as before-apply. */
@Mojo(name = "rollback", requiresProject = false, threadSafe = true)
class RollbackMojo extends LimaMojo {
    /** The tag of the snapshot. */
    @Parameter(property = "lima.tag")
    private String tag;

    @Override
    void work() throws MojoExecutionException {
        if (tag == null) { // not required=true: Maven would ask for it under lima.skip too
            throw new MojoExecutionException("which snapshot? -Dlima.tag=TAG; 'sandbox snapshot list .' shows them");
        }
        snapshot("apply", target(), tag);
    }
}
