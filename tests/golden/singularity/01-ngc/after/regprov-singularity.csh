# Written by regprov. Holds no secret: the login lies where only its readers can read it.
if ( -r /etc/regprov/singularity.csh ) source /etc/regprov/singularity.csh
